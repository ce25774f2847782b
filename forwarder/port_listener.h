/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Something that listens in a guest. */
#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

struct port_listener {
	enum forward_proto proto;
	struct endpoint guest;
};
