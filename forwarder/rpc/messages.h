/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The messages of agent.proto and guest_service.proto as plain data: the one place
 * that knows the code protoc-c makes of them. Pure.
 *
 * What a peer sends is checked here: addresses are well formed, ports 1 to 65535,
 * texts printable and of bounded length. Parsing gives 0, or -EPROTO for what is no
 * such message or takes too much memory. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forwarder/rpc/message.h"
#include "netstack/addr.h"

#define RPC_PROTOCOL 1U
#define RPC_FEATURE_EVENTS 1U
#define RPC_FEATURE_FLOW 2U
#define RPC_FEATURE_LISTEN 4U
#define RPC_FEATURE_RAW 8U
#define RPC_FEATURE_LISTEN_UDP 16U
#define RPC_FEATURE_RAW_ACCEPTED 32U

#define RPC_DATA_FIELD 1U   /* FlowMessage.data */
#define GUEST_DATA_FIELD 3U /* TunnelMessage.data */

#define RPC_TEXT_SIZE 64
#define RPC_PATH_SIZE 108 /* sun_path of unix(7) */

struct rpc_hello {
	uint32_t protocol;
	uint64_t features;
	uint32_t raw_port; /* with RPC_FEATURE_RAW */
	char version[RPC_TEXT_SIZE];
};

/* To connect to, or to listen on. */
struct rpc_place {
	struct endpoint endpoint; /* or, if not "": */
	char path[RPC_PATH_SIZE];
};

/* Of a flow; or, without accepted, of what the agent is to listen on. */
struct rpc_open {
	bool is_udp;
	uint64_t accepted; /* 0: place */
	struct rpc_place place;
};

struct rpc_listener {
	bool is_udp;
	struct endpoint guest;
};

struct rpc_event {
	bool is_all;
	uint16_t ephemeral_first, ephemeral_last; /* with is_all; 0: not known */
};

enum rpc_flow_kind {
	RPC_FLOW_DATA_ONLY, /* or something that a later version knows */
	RPC_FLOW_OPEN,
	RPC_FLOW_OPENED,
	RPC_FLOW_FIN,
	RPC_FLOW_REFUSED,
};

/* FlowMessage but for its data. */
struct rpc_flow_message {
	enum rpc_flow_kind kind;
	struct rpc_open open;
	int error; /* of opened: 0 or -errno */
};

struct rpc_listen_message {
	bool is_accepted;
	uint64_t id; /* when accepted */
	int error;   /* when not: 0 or -errno of listening */
};

/* The first message of a Tunnel. */
struct guest_open {
	char id[RPC_TEXT_SIZE];
	bool is_udp;
	struct endpoint guest;
};

/* 0 or -ENOMEM. */
int message_empty(struct message *out);
int message_hello(const struct rpc_hello *hello, struct message *out);
int message_listen_at(const struct rpc_open *at, struct message *out);
int message_flow(const struct rpc_flow_message *flow, struct message *out);
int message_listen(const struct rpc_listen_message *listen, struct message *out);
int message_guest_open(const struct guest_open *open, struct message *out);
int message_guest_time(int64_t drift_ms, struct message *out);

/* What changed; the numbers are those of listeners. */
struct message_ports {
	const struct rpc_listener *added, *removed;
	unsigned int n_added, n_removed;
};
int message_event(const struct rpc_event *event, const struct message_ports *ports,
		  struct message *out);
int message_guest_info(const struct message_ports *ports, struct message *out);
int message_guest_event(const struct message_ports *ports, struct message *out);

int message_parse_hello(const uint8_t *data, size_t len, struct rpc_hello *out);
int message_parse_listen_at(const uint8_t *data, size_t len, struct rpc_open *out);
int message_parse_flow(const uint8_t *data, size_t len, struct rpc_flow_message *out);
int message_parse_listen(const uint8_t *data, size_t len, struct rpc_listen_message *out);
int message_parse_guest_open(const uint8_t *data, size_t len, struct guest_open *out);
/* How far the guest's clock is from the host's in the message. */
int message_parse_guest_time(const uint8_t *data, size_t len, int64_t now_ms, int64_t *drift_ms);

/* Each well-formed listener goes to fn, the removed ones first; the result is how
 * many were not. */
typedef void message_listener_fn(void *arg, bool is_added, const struct rpc_listener *listener);
struct message_sink {
	message_listener_fn *fn;
	void *arg;
};
int message_parse_event(const uint8_t *data, size_t len, struct rpc_event *out,
			const struct message_sink *sink);
int message_parse_guest_info(const uint8_t *data, size_t len, const struct message_sink *sink);
int message_parse_guest_event(const uint8_t *data, size_t len, const struct message_sink *sink);
