/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* As many open files as the hard limit allows: thousands of connections are meant to
 * work without settings. Logged at debug level where it cannot be had. */
void descriptor_limit_raise(void);
