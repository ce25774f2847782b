/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "forwarder/options.h"
#include "forwarder/qemu_args.h"
#include "forwarder/qemu_probe.h"
#include "forwarder/runtime_dir.h"
#include "netstack/base/log.h"
#include "netstack/link_dgram.h"
#include "netstack/link_stream.h"
#include "netstack/link_tap.h"
#include "netstack/stack.h"
