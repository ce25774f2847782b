/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What root's process gives up once it is set up. */

/* Every capability, for good, and the means to get any by running a program. It
 * stays the user it is: files of root's, devices among them, can still be opened.
 * 0 or -errno. */
int privileges_drop(void);
