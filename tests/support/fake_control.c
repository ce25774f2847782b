/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_control.h"

#include <stdio.h>

static void list_guests(void *arg, struct control_status *s)
{
	const struct control_guest guest = {
		.name = "default",
		.link = "stream",
		.path = "/run/x.sock",
		.is_connected = true,
		.bytes_to_guest = 1,
		.bytes_to_host = UINT64_MAX,
	};

	(void)arg;
	control_status_guest(s, &guest);
}

static void list_forwards(void *arg, struct control_status *s)
{
	const struct control_published forward = {
		.guest_name = "default",
		.proto = FORWARD_UDP,
		.host = "127.0.0.1:53",
		.guest = "192.168.5.15:53",
		.via = "direct",
		.state = "failed",
		.rule = "0",
		.error = "Address \"already\" in use\n",
	};

	(void)arg;
	control_status_forward(s, &forward);
	control_status_forward(s, &forward);
}

static void list_ways(void *arg, struct control_status *s)
{
	(void)arg;
	control_status_way(s, &(struct control_way){ NULL, "direct", "up", "" });
	control_status_way(s, &(struct control_way){ NULL, "ssh", "down", "no route to host" });
}

static void list_counters(void *arg, struct control_status *s)
{
	(void)arg;
	control_status_counter(s, "udp.no_port", 7);
}

static int answer(struct fake_control *f, char *error)
{
	if (f->error)
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", f->error);
	return f->result;
}

static int note_forward(struct fake_control *f, const char *what,
			const struct control_forward *forward)
{
	return snprintf(f->asked, sizeof(f->asked), "%s %s %u->%u %s", what,
			forward_proto_name(forward->spec.proto), forward->spec.host.port,
			forward->spec.guest.port, forward->via ? rule_via_name(forward->via) : "-");
}

static int expose(void *arg, const struct control_forward *forward, char *error)
{
	note_forward(arg, "expose", forward);
	return answer(arg, error);
}

static int unexpose(void *arg, const struct control_forward *forward, char *error)
{
	note_forward(arg, "unexpose", forward);
	return answer(arg, error);
}

static int report(void *arg, const char *guest, const struct control_report *what, char *error)
{
	struct fake_control *f = arg;

	(void)snprintf(f->asked, sizeof(f->asked), "report %s +%zu -%zu", guest, what->n_added,
		       what->n_removed);
	return answer(arg, error);
}

static int reload(void *arg, char *error)
{
	struct fake_control *f = arg;

	(void)snprintf(f->asked, sizeof(f->asked), "reload");
	return answer(arg, error);
}

struct control_ops fake_control_ops(struct fake_control *fake)
{
	return (struct control_ops){
		.list_guests = list_guests,
		.list_forwards = list_forwards,
		.list_ways = list_ways,
		.list_counters = list_counters,
		.expose = expose,
		.unexpose = unexpose,
		.report = report,
		.reload = reload,
		.arg = fake,
	};
}
