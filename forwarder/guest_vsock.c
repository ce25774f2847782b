/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest_vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/guest_link.h"
#include "forwarder/options.h"
#include "netstack/base/log.h"
#include "netstack/vsock/device.h"
#include "netstack/vsock/hybrid.h"
#include "netstack/vsock/kernel.h"
#include "netstack/vsock/peer.h"

struct guest_vsock {
	struct vsock *vsock;
	struct vsock_hybrid *hybrid; /* NULL: nobody else is to find it */
};

static int open_vsock(struct loop *loop, const struct options *o, struct vsock **out)
{
	const struct vsock_device_config config = { o->vsock_cid, o->busy_poll_us };
	int r;

	if (o->vsock_peer) {
		r = vsock_peer_new(loop, o->vsock_peer, out);
		if (r < 0)
			log_error("%s: %s", o->vsock_peer, strerror(-r));
		return r;
	}
	if (o->vsock_path) {
		r = vsock_device_listen(loop, o->vsock_path, &config, out);
		if (r < 0)
			log_error("%s: %s", o->vsock_path, guest_link_explain(r));
		return r;
	}
	r = vsock_kernel_new(loop, o->vsock_cid, out);
	if (r < 0)
		log_error("the kernel has no vsock (%s); to serve the guest's device ourselves, "
			  "use --vsock PATH",
			  strerror(-r));
	return r;
}

int guest_vsock_open(struct loop *loop, const struct options *o, struct guest_vsock **out)
{
	struct guest_vsock *g;
	int r;

	*out = NULL;
	if (!o->vsock_cid && !o->vsock_peer)
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	r = open_vsock(loop, o, &g->vsock);
	if (r == 0 && o->vsock_uds) {
		r = vsock_hybrid_new(loop, g->vsock, o->vsock_uds, &g->hybrid);
		if (r < 0)
			log_error("%s: %s", o->vsock_uds, guest_link_explain(r));
	}
	if (r < 0) {
		guest_vsock_free(g);
		return r;
	}
	*out = g;
	return 0;
}

void guest_vsock_free(struct guest_vsock *g)
{
	if (!g)
		return;
	vsock_hybrid_free(g->hybrid);
	vsock_free(g->vsock);
	free(g);
}

struct vsock *guest_vsock_of(const struct guest_vsock *g)
{
	return g ? g->vsock : NULL;
}
