/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A network namespace of the test's own, with nothing but a loopback interface:
 * every port is free there, and nothing that is sent leaves the machine. */

/* Called first in main(), before there is any thread. Exits with a message when
 * the system allows no such namespace. */
void own_network_enter(void);
