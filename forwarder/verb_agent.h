/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd agent install`: see verbs.h. */

extern const char verb_agent_help[];
int verb_agent(int argc, char *argv[]);
