/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd check` and `netfwd explain`: what a configuration means. Nothing is
 * opened or listened on. */

extern const char verb_check_help[];
extern const char verb_explain_help[];
int verb_check(int argc, char *argv[]);
int verb_explain(int argc, char *argv[]);
