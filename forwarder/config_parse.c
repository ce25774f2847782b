/* SPDX-License-Identifier: Apache-2.0 */
/* The adapter of libcyaml: the schema, and struct config filled by it. */
#include "forwarder/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/config_check.h"
#include "forwarder/config_tree.h"

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

/* NOLINTBEGIN(bugprone-sizeof-expression): libcyaml's macros */

static const cyaml_strval_t switches[] = {
	{ "true", RULE_SWITCH_ON },
	{ "false", RULE_SWITCH_OFF },
};

static const cyaml_strval_t protos[] = {
	{ "tcp", RULE_PROTO_TCP },
	{ "udp", RULE_PROTO_UDP },
	{ "any", RULE_PROTO_ANY },
};

/* "none" is not for a rule, which has `ignore`. */
static const cyaml_strval_t ways[] = {
	{ "ssh", RULE_VIA_SSH },     { "grpc", RULE_VIA_GRPC },	  { "direct", RULE_VIA_DIRECT },
	{ "netns", RULE_VIA_NETNS }, { "vsock", RULE_VIA_VSOCK }, { "auto", RULE_VIA_AUTO },
	{ "none", RULE_VIA_NONE },
};
#define N_WAYS_OF_A_RULE (LENGTH_OF(ways) - 1)

static const cyaml_strval_t levels[] = {
	{ "warn", CONFIG_LEVEL_WARN },
	{ "info", CONFIG_LEVEL_INFO },
	{ "debug", CONFIG_LEVEL_DEBUG },
	{ "trace", CONFIG_LEVEL_TRACE },
};

static const cyaml_strval_t host_keys[] = {
	{ "yes", CONFIG_HOST_KEYS_YES },
	{ "accept-new", CONFIG_HOST_KEYS_ACCEPT_NEW },
	{ "no", CONFIG_HOST_KEYS_NO },
};

static const cyaml_strval_t transports[] = {
	{ "none", CONFIG_AGENT_NONE },	     { "vsock", CONFIG_AGENT_VSOCK },
	{ "serial", CONFIG_AGENT_SERIAL },   { "unix", CONFIG_AGENT_UNIX },
	{ "tcp", CONFIG_AGENT_TCP },	     { "ssh", CONFIG_AGENT_SSH },
	{ "command", CONFIG_AGENT_COMMAND },
};

#define INT(key, type, member) CYAML_FIELD_INT(key, CYAML_FLAG_OPTIONAL, type, member)
#define ENUM(key, type, member, names)                                                      \
	CYAML_FIELD_ENUM(key, CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, type, member, names, \
			 LENGTH_OF(names))
#define SWITCH(key, type, member) ENUM(key, type, member, switches)
#define STRING(key, type, member)                                                                \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, type, member, \
			       0, CONFIG_STRING_MAX)
#define SECTION(key, type, member, fields) \
	CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_schema_field_t network_fields[] = {
	STRING("cidr", struct config_network, cidr),
	INT("mtu", struct config_network, mtu),
	SWITCH("hostLoopback", struct config_network, host_loopback),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t guest_fields[] = {
	STRING("stream", struct config_guest, stream),
	STRING("dgram", struct config_guest, dgram),
	STRING("vhostUser", struct config_guest, vhost_user),
	STRING("netns", struct config_guest, netns),
	STRING("ifname", struct config_guest, ifname),
	STRING("vsock", struct config_guest, vsock),
	INT("vsockCid", struct config_guest, vsock_cid),
	INT("busyPoll", struct config_guest, busy_poll_us),
	STRING("vsockUds", struct config_guest, vsock_uds),
	STRING("vsockConnect", struct config_guest, vsock_connect),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t port_schema = { CYAML_VALUE_INT(CYAML_FLAG_DEFAULT, int) };

static const cyaml_schema_value_t text_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CONFIG_STRING_MAX),
};

#define LIST(key, type, member, entry)                                                       \
	CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, type, \
				   member, n_##member, entry, 0, CYAML_UNLIMITED)

static const cyaml_schema_field_t keepalive_fields[] = {
	INT("interval", struct config_keepalive, interval),
	INT("countMax", struct config_keepalive, count_max),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t ssh_fields[] = {
	STRING("host", struct config_ssh, host),
	INT("port", struct config_ssh, port),
	INT("localPort", struct config_ssh, local_port),
	STRING("user", struct config_ssh, user),
	STRING("identityFile", struct config_ssh, identity_file),
	ENUM("hostKeyChecking", struct config_ssh, host_key_checking, host_keys),
	STRING("knownHosts", struct config_ssh, known_hosts),
	SWITCH("overVsock", struct config_ssh, over_vsock),
	SECTION("keepalive", struct config_ssh, keepalive, keepalive_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t agent_fields[] = {
	ENUM("transport", struct config_agent, transport, transports),
	STRING("path", struct config_agent, path),
	INT("port", struct config_agent, port),
	STRING("host", struct config_agent, host),
	STRING("tokenFile", struct config_agent, token_file),
	LIST("command", struct config_agent, command, &text_schema),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t logging_fields[] = {
	ENUM("level", struct config_logging, level, levels),
	SWITCH("json", struct config_logging, json),
	STRING("pcap", struct config_logging, pcap),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t types_fields[] = {
	ENUM("tcp", struct rule_types_source, tcp, ways),
	ENUM("udp", struct rule_types_source, udp, ways),
	ENUM("any", struct rule_types_source, any, ways),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t rule_fields[] = {
	SWITCH("guestIPMustBeZero", struct rule_source, guest_ip_must_be_zero),
	STRING("guestIP", struct rule_source, guest_ip),
	INT("guestPort", struct rule_source, guest_port),
	CYAML_FIELD_SEQUENCE_FIXED("guestPortRange", CYAML_FLAG_OPTIONAL, struct rule_source,
				   guest_port_range, &port_schema, 2),
	STRING("guestSocket", struct rule_source, guest_socket),
	STRING("hostIP", struct rule_source, host_ip),
	INT("hostPort", struct rule_source, host_port),
	CYAML_FIELD_SEQUENCE_FIXED("hostPortRange", CYAML_FLAG_OPTIONAL, struct rule_source,
				   host_port_range, &port_schema, 2),
	STRING("hostSocket", struct rule_source, host_socket),
	ENUM("proto", struct rule_source, proto, protos),
	SWITCH("static", struct rule_source, is_static),
	SWITCH("reverse", struct rule_source, reverse),
	SWITCH("ignore", struct rule_source, ignore),
	CYAML_FIELD_ENUM("via", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, struct rule_source, via,
			 ways, N_WAYS_OF_A_RULE),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t rule_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct rule_source, rule_fields),
};

static const cyaml_schema_field_t shared_guest_fields[] = {
	STRING("name", struct config_shared_guest, name),
	STRING("mac", struct config_shared_guest, mac),
	STRING("address", struct config_shared_guest, address),
	STRING("vsock", struct config_shared_guest, own.guest.vsock),
	INT("vsockCid", struct config_shared_guest, own.guest.vsock_cid),
	STRING("vsockUds", struct config_shared_guest, own.guest.vsock_uds),
	STRING("vsockConnect", struct config_shared_guest, own.guest.vsock_connect),
	SECTION("ssh", struct config_shared_guest, own.ssh, ssh_fields),
	SECTION("agent", struct config_shared_guest, own.agent, agent_fields),
	SWITCH("plain", struct config_shared_guest, own.plain),
	SECTION("portForwardTypes", struct config_shared_guest, own.port_forward_types,
		types_fields),
	CYAML_FIELD_SEQUENCE_COUNT("portForwards", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
				   struct config_shared_guest, own.port_forwards,
				   own.n_port_forwards, &rule_schema, 0, CYAML_UNLIMITED),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t shared_guest_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_shared_guest, shared_guest_fields),
};

static const cyaml_schema_field_t shared_fields[] = {
	STRING("stream", struct config_shared, stream),
	LIST("dgram", struct config_shared, dgram, &text_schema),
	LIST("vhostUser", struct config_shared, vhost_user, &text_schema),
	LIST("netns", struct config_shared, netns, &text_schema),
	STRING("hostInterface", struct config_shared, host_interface),
	STRING("uplink", struct config_shared, uplink),
	SWITCH("isolate", struct config_shared, isolate),
	SWITCH("portSecurity", struct config_shared, port_security),
	STRING("leases", struct config_shared, leases),
	STRING("range", struct config_shared, range),
	INT("leaseTime", struct config_shared, lease_time),
	STRING("loopback", struct config_shared, loopback),
	LIST("loopbackPorts", struct config_shared, loopback_ports, &port_schema),
	LIST("ntp", struct config_shared, ntp, &text_schema),
	LIST("search", struct config_shared, search, &text_schema),
	LIST("guests", struct config_shared, guests, &shared_guest_schema),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
	SECTION("network", struct config, network, network_fields),
	SECTION("guest", struct config, guest, guest_fields),
	CYAML_FIELD_MAPPING_PTR("shared", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config,
				shared, shared_fields),
	SECTION("ssh", struct config, ssh, ssh_fields),
	SECTION("agent", struct config, agent, agent_fields),
	SECTION("logging", struct config, logging, logging_fields),
	SWITCH("plain", struct config, plain),
	SWITCH("autoCorrect", struct config, auto_correct),
	SECTION("portForwardTypes", struct config, port_forward_types, types_fields),
	CYAML_FIELD_SEQUENCE_COUNT("portForwards", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
				   struct config, port_forwards, n_port_forwards, &rule_schema, 0,
				   CYAML_UNLIMITED),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields),
};

/* NOLINTEND(bugprone-sizeof-expression) */

/* The first line of libcyaml's log is the fault, then come the places. */
struct cyaml_report {
	char line[128];
};

__attribute__((format(printf, 3, 0))) static void on_cyaml_log(cyaml_log_t level, void *arg,
							       const char *fmt, va_list ap)
{
	struct cyaml_report *report = arg;

	(void)level;
	if (!*report->line)
		(void)vsnprintf(report->line, sizeof(report->line), fmt, ap);
	report->line[strcspn(report->line, "\n")] = '\0';
}

static cyaml_config_t cyaml_config_of(struct cyaml_report *report)
{
	return (cyaml_config_t){
		.log_fn = on_cyaml_log,
		.log_ctx = report,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
		/* Unknown keys were reported. Anchors are more than a
		 * configuration needs, and a way to make it huge. */
		.flags = CYAML_CFG_IGNORE_UNKNOWN_KEYS | CYAML_CFG_NO_ALIAS,
	};
}

static int fill(const char *text, size_t len, struct config **out, struct problems *problems)
{
	struct cyaml_report report = { "" };
	const cyaml_config_t cyaml = cyaml_config_of(&report);
	cyaml_data_t *data = NULL;
	cyaml_err_t r =
		cyaml_load_data((const uint8_t *)text, len, &cyaml, &config_schema, &data, NULL);

	if (r == CYAML_OK) {
		*out = data;
		return 0;
	}
	if (r == CYAML_ERR_OOM)
		return -ENOMEM;
	if (r == CYAML_ERR_ALIAS)
		problems_error(problems, "", "must not have aliases (*name)");
	else if (problems->n_errors == 0)
		problems_error(problems, "", "cannot be read: %s (%s)", cyaml_strerror(r),
			       report.line);
	return -EINVAL;
}

static int parse(struct config_tree *tree, size_t len, const struct config_context *context,
		 struct config **out, struct problems *problems)
{
	unsigned int errors_before = problems->n_errors;
	struct config *config = NULL;
	int r;

	if (!config_tree_check(tree, &config_schema, problems))
		return -EINVAL;
	r = fill(tree->text, len, &config, problems);
	if (r == 0)
		r = config_check(config, context, problems);
	if (r == 0 && problems->n_errors != errors_before)
		r = -EINVAL;
	if (r < 0)
		config_free(config);
	else
		*out = config;
	return r;
}

int config_parse(const char *text, size_t len, const struct config_context *context,
		 struct config **out, struct problems *problems)
{
	char *copy = malloc(len + 1);
	struct config_tree tree;
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	r = config_tree_load(&tree, copy, len, problems);
	if (r == 0) {
		r = parse(&tree, len, context, out, problems);
		config_tree_locate(&tree, problems);
		config_tree_unload(&tree);
	}
	free(copy);
	return r;
}

void config_free(struct config *config)
{
	struct cyaml_report report = { "" };
	const cyaml_config_t cyaml = cyaml_config_of(&report);

	if (!config)
		return;
	free(config->rules);
	for (unsigned int i = 0; config->shared && i < config->shared->n_guests; i++)
		free(config->shared->guests[i].own.rules);
	(void)cyaml_free(&cyaml, &config_schema, config, 0);
}
