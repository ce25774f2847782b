/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A place in the guest, as the agent is told. Pure. */

struct rpc_place;
struct tunnel_place;

/* 0, or -ENAMETOOLONG. */
int tunnel_place_to_rpc(const struct tunnel_place *from, struct rpc_place *to);
