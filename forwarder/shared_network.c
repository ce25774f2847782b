/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shared_network.h"

#include <errno.h>
#include <string.h>

#include "forwarder/options.h"
#include "forwarder/state_dir.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"

/* One network has one file, whatever is on it. */
static void choose_lease_file(struct stack_config *network, char lease_path[static PATH_MAX])
{
	const struct state_env env = state_env_get();
	char name[ADDR_TEXT_SIZE + sizeof("leases-")] = "leases-";
	int r;

	(void)ipaddr_format(&network->network4, name + strlen(name));
	r = state_dir_file(&env, name, lease_path, PATH_MAX);
	if (r == 0)
		network->shared.lease_path = lease_path;
	else
		log_warn("leases end with this process: no place to keep them: %s; choose one with "
			 "--leases FILE",
			 strerror(-r));
}

/* Of many guests one must be named. */
static int check_forwards(const struct options *o)
{
	for (unsigned int i = 0; i < o->n_forwards; i++) {
		const struct forward_spec *f = &o->forwards[i];

		if (!ipaddr_is_any(&f->guest.addr))
			continue;
		log_error("--forward %s:%u:%u: which guest? Name its address: "
			  "%s:%u:192.168.105.16:%u",
			  forward_proto_name(f->proto), f->host.port, f->guest.port,
			  forward_proto_name(f->proto), f->host.port, f->guest.port);
		return -EINVAL;
	}
	return 0;
}

int shared_network_choose(const struct options *options, struct stack_config *out,
			  char lease_path[static PATH_MAX])
{
	char error[SHARED_OPTIONS_ERROR_SIZE];
	int r = check_forwards(options);

	if (r < 0)
		return r;
	*out = stack_config_default();
	out->mtu = options->mtu;
	out->host_loopback = options->host_loopback;
	out->network4 = options->network4;
	out->prefix4_bits = options->prefix4_bits;
	r = shared_options_network(&options->shared, out, error);
	if (r < 0)
		log_error("%s", error);
	else if (!out->shared.lease_path)
		choose_lease_file(out, lease_path);
	return r;
}
