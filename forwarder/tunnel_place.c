/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_place.h"

#include <errno.h>
#include <string.h>

#include "forwarder/rpc/messages.h"
#include "forwarder/tunnel.h"

int tunnel_place_to_rpc(const struct tunnel_place *from, struct rpc_place *to)
{
	size_t len = from->path ? strlen(from->path) : 0;

	*to = (struct rpc_place){ .endpoint = from->endpoint };
	if (len >= sizeof(to->path))
		return -ENAMETOOLONG;
	if (from->path)
		memcpy(to->path, from->path, len);
	return 0;
}
