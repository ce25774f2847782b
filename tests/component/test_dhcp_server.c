/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"

#define OFFER 2
#define ACK 5
#define NAK 6
#define NOTHING 0

struct fixture {
	struct loop *loop;
	struct dhcp_server *server;
	struct dhcp_server_config config;
	char directory[32], path[48];
	/* the last that was sent */
	unsigned int n_replies, n_probes, n_changes;
	struct dhcp_destination to;
	uint8_t type, last_byte;
	struct ipaddr probed;
};

static struct ipaddr addr(uint8_t number)
{
	return (struct ipaddr)IPADDR_V4(192, 168, 105, number);
}

static struct mac mac(uint8_t number)
{
	return (struct mac){ { 2, 0, 0, 0, 0, number } };
}

static void on_reply(void *arg, const struct dhcp_destination *to, const void *message, size_t len)
{
	struct fixture *f = arg;
	const uint8_t *m = message;

	assert_in_range(len, 300, DHCP_REPLY_MAX);
	f->n_replies++;
	f->to = *to;
	f->last_byte = m[19];
	assert_int_equal(m[240], 53);
	f->type = m[242];
}

static void on_probe(void *arg, const struct ipaddr *probed)
{
	struct fixture *f = arg;

	f->n_probes++;
	f->probed = *probed;
}

static const char *on_name(void *arg, const struct mac *of)
{
	(void)arg;
	(void)of;
	return NULL;
}

static void on_changed(void *arg)
{
	struct fixture *f = arg;

	f->n_changes++;
}

static const struct dhcp_server_owner owner = {
	.reply = on_reply,
	.probe = on_probe,
	.name = on_name,
	.changed = on_changed,
};

static void start(struct fixture *f)
{
	assert_int_equal(dhcp_server_new(f->loop, &f->config, &f->server), 0);
	assert_int_equal(dhcp_server_load(f->server), 0);
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	*state = &f;
	strcpy(f.directory, "/tmp/netfwd-dhcp-XXXXXX");
	if (!mkdtemp(f.directory) || loop_new(&f.loop) < 0)
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/leases", f.directory);
	f.config = (struct dhcp_server_config){
		.settings = { .server = addr(1),
			      .router = addr(1),
			      .dns = addr(3),
			      .prefix_bits = 24,
			      .mtu = 1500,
			      .lease_s = 600 },
		.range = { addr(16), addr(18) },
		.path = f.path,
		.probes = true,
		.owner = &owner,
		.arg = &f,
	};
	start(&f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dhcp_server_free(f->server);
	loop_free(f->loop);
	(void)unlink(f->path);
	return rmdir(f->directory);
}

struct message {
	uint8_t type;
	uint8_t requested, ciaddr, server; /* last bytes; 0: none */
	const char *id, *name;
};

static void put_option(uint8_t **at, uint8_t option, const void *data, size_t len)
{
	(*at)[0] = option;
	(*at)[1] = (uint8_t)len;
	memcpy(*at + 2, data, len);
	*at += 2 + len;
}

static void put_address(uint8_t **at, uint8_t option, uint8_t number)
{
	struct ipaddr a = addr(number);

	if (number)
		put_option(at, option, ipaddr_v4_bytes(&a), 4);
}

/* Sends it; the type of the reply. */
static uint8_t say(struct fixture *f, uint8_t client, const struct message *message)
{
	uint8_t m[400] = { 1, 1, 6 }, *at = m + 240;
	struct mac from = mac(client);
	struct ipaddr ciaddr = addr(message->ciaddr);

	put_be32(m + 236, 0x63825363);
	memcpy(m + 28, from.b, 6);
	if (message->ciaddr)
		memcpy(m + 12, ipaddr_v4_bytes(&ciaddr), 4);
	put_option(&at, 53, &message->type, 1);
	put_address(&at, 50, message->requested);
	put_address(&at, 54, message->server);
	if (message->id)
		put_option(&at, 61, message->id, strlen(message->id));
	if (message->name)
		put_option(&at, 12, message->name, strlen(message->name));
	*at++ = 255;
	f->type = NOTHING;
	dhcp_server_receive(f->server, &from, m, (size_t)(at - m));
	return f->type;
}

static uint8_t discover(struct fixture *f, uint8_t client)
{
	const struct message m = { .type = DHCP_DISCOVER };

	return say(f, client, &m);
}

static uint8_t request(struct fixture *f, uint8_t client, uint8_t address)
{
	const struct message m = { .type = DHCP_REQUEST, .requested = address, .server = 1 };

	return say(f, client, &m);
}

/* From nothing to a lease; the last byte of the address. */
static uint8_t join(struct fixture *f, uint8_t client)
{
	if (discover(f, client) == NOTHING)
		fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->type, OFFER);
	assert_int_equal(request(f, client, f->last_byte), ACK);
	return f->last_byte;
}

static void an_address_is_offered_when_nobody_answers_for_it(void **state)
{
	struct fixture *f = *state;
	struct mac one = mac(1);

	assert_int_equal(discover(f, 1), NOTHING);
	assert_int_equal(f->n_probes, 1);
	assert_int_equal(f->probed.b[15], 16);
	assert_int_equal(discover(f, 1), NOTHING); /* it repeats itself */
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->n_replies, 1);
	assert_int_equal(f->type, OFFER);
	assert_true(mac_equal(&f->to.mac, &one)); /* it has no address to answer for */
	assert_int_equal(f->to.addr.b[15], 16);
	assert_int_equal(request(f, 1, 16), ACK);

	assert_int_equal(f->n_changes, 1);
	assert_int_equal(discover(f, 1), OFFER); /* its own: at once */
	assert_int_equal(f->n_probes, 1);
	assert_int_equal(request(f, 1, 16), ACK);
	assert_int_equal(f->n_changes, 1);
}

static void an_address_in_use_is_passed_over(void **state)
{
	const struct ipaddr first = addr(16);
	struct mac squatter = mac(99);
	struct fixture *f = *state;

	assert_int_equal(discover(f, 1), NOTHING);
	dhcp_server_saw(f->server, &first, &squatter);
	assert_int_equal(f->n_probes, 2);
	assert_int_equal(f->probed.b[15], 17);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->type, OFFER);
	assert_int_equal(f->last_byte, 17);
	assert_int_equal(request(f, 1, 17), ACK);
	assert_int_equal(dhcp_server_counters(f->server)->conflicts, 1);
	assert_int_equal(join(f, 2), 18);
}

static void what_was_not_given_is_refused(void **state)
{
	const struct message init_reboot = { .type = DHCP_REQUEST, .requested = 16 };
	const struct message renew = { .type = DHCP_REQUEST, .ciaddr = 16 };
	const struct message elsewhere = { .type = DHCP_REQUEST, .requested = 77 };
	const struct message nothing = { .type = DHCP_REQUEST };
	struct fixture *f = *state;

	assert_int_equal(say(f, 1, &init_reboot), NAK); /* of no lease that we know */
	assert_int_equal(f->to.addr.b[15], 255);	/* to all: it may have another address */
	assert_int_equal(join(f, 1), 16);
	assert_int_equal(say(f, 1, &init_reboot), ACK);
	assert_int_equal(say(f, 1, &renew), ACK);
	assert_int_equal(f->to.addr.b[15], 16);
	assert_int_equal(say(f, 1, &elsewhere), NAK);
	assert_int_equal(say(f, 2, &init_reboot), NAK);
	assert_int_equal(say(f, 2, &renew), NAK);
	assert_int_equal(say(f, 1, &nothing), NOTHING);
	assert_int_equal(dhcp_server_counters(f->server)->refused, 4);
}

static void another_servers_offer_is_left_to_it(void **state)
{
	const struct message m = { .type = DHCP_REQUEST, .requested = 16, .server = 9 };
	struct fixture *f = *state;

	assert_int_equal(join(f, 1), 16);
	assert_int_equal(say(f, 1, &m), NOTHING);
}

static void a_released_address_stays_the_guests(void **state)
{
	const struct message release = { .type = DHCP_RELEASE, .ciaddr = 16 };
	struct fixture *f = *state;

	assert_int_equal(join(f, 1), 16);
	assert_int_equal(say(f, 2, &release), NOTHING); /* by another: no release */
	assert_int_equal(say(f, 1, &release), NOTHING);
	assert_int_equal(join(f, 2), 17);
	assert_int_equal(join(f, 1), 16);
}

static void a_declined_address_is_not_given_again(void **state)
{
	const struct message decline = { .type = DHCP_DECLINE, .requested = 16, .server = 1 };
	struct fixture *f = *state;

	assert_int_equal(join(f, 1), 16);
	say(f, 2, &decline); /* not its own */
	assert_int_equal(join(f, 1), 16);
	say(f, 1, &decline);
	assert_int_equal(join(f, 1), 17);
	assert_int_equal(join(f, 2), 18);
}

static void who_is_configured_gets_the_rest_of_it(void **state)
{
	const struct message inform = { .type = DHCP_INFORM, .ciaddr = 200 };
	struct fixture *f = *state;

	assert_int_equal(say(f, 1, &inform), ACK);
	assert_int_equal(f->last_byte, 0);
	assert_int_equal(f->to.addr.b[15], 200);
}

static void an_exhausted_range_is_told_and_ends(void **state)
{
	struct fixture *f = *state;

	for (uint8_t i = 1; i <= 3; i++)
		assert_int_equal(join(f, i), 15 + i);
	assert_int_equal(discover(f, 4), NOTHING);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->type, NOTHING);
	assert_int_equal(dhcp_server_counters(f->server)->exhausted, 1);
	assert_int_equal(request(f, 4, 16), NAK);
	fake_loop_advance(f->loop, 600 * 1000);
	assert_int_equal(join(f, 4), 16);
}

static void copies_of_one_machine_get_an_address_each(void **state)
{
	const struct message discover_id = { .type = DHCP_DISCOVER, .id = "machine" };
	const struct message request16 = { .type = DHCP_REQUEST, .requested = 16, .id = "machine" };
	const struct message request17 = { .type = DHCP_REQUEST, .requested = 17, .id = "machine" };
	struct fixture *f = *state;
	struct mac one = mac(1);
	const struct ipaddr first = addr(16);

	say(f, 1, &discover_id);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(say(f, 1, &request16), ACK);
	assert_int_equal(say(f, 2, &request16), NAK); /* it is the first one's */
	assert_int_equal(say(f, 2, &discover_id), NOTHING);
	assert_int_equal(f->probed.b[15], 16);
	dhcp_server_saw(f->server, &first, &one);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->last_byte, 17);
	assert_int_equal(say(f, 2, &request17), ACK);
	assert_int_equal(say(f, 1, &request16), ACK);
	/* the first has gone and comes back with another card */
	say(f, 3, &discover_id);
	assert_int_equal(f->probed.b[15], 16);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(say(f, 3, &request16), ACK);
}

static void nobody_asks_for_another(void **state)
{
	uint8_t m[244] = { 1, 1, 6, [240] = 53, 1, 1, 255 };
	struct fixture *f = *state;
	struct mac from = mac(1), other = mac(2);

	put_be32(m + 236, 0x63825363);
	memcpy(m + 28, other.b, 6);
	dhcp_server_receive(f->server, &from, m, sizeof(m));
	dhcp_server_receive(f->server, &from, m, 100);
	assert_int_equal(f->n_probes, 0);
	assert_int_equal(dhcp_server_counters(f->server)->forged, 1);
	assert_int_equal(dhcp_server_counters(f->server)->malformed, 1);
}

static void many_may_ask_at_once(void **state)
{
	struct fixture *f = *state;

	f->config.range.last = addr(250);
	dhcp_server_free(f->server);
	start(f);
	for (uint8_t i = 1; i <= 150; i++)
		assert_int_equal(discover(f, i), NOTHING);
	assert_int_equal(dhcp_server_counters(f->server)->busy, 150 - 128);
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(f->n_replies, 128);
	for (uint8_t i = 1; i <= 150; i++)
		(void)join(f, i);
}

static void leases_and_names_survive_the_program(void **state)
{
	const struct message m = { .type = DHCP_REQUEST, .requested = 17, .name = "box" };
	struct fixture *f = *state;
	struct stat st;

	(void)join(f, 1);
	assert_int_equal(join(f, 2), 17);
	assert_int_equal(f->n_changes, 2);
	assert_int_equal(say(f, 2, &m), ACK);
	assert_int_equal(f->n_changes, 3); /* it has a name */
	fake_loop_advance(f->loop, 1000);
	assert_int_equal(stat(f->path, &st), 0); /* before the end */
	dhcp_server_free(f->server);
	start(f);
	assert_int_equal(discover(f, 2), OFFER);
	assert_int_equal(f->last_byte, 17);
	assert_non_null(lease_of_name(dhcp_server_leases(f->server), "box"));
	assert_int_equal(join(f, 3), 18);
	assert_int_equal(join(f, 1), 16);
}

static void a_guest_that_is_configured_by_us_has_a_lease_too(void **state)
{
	struct fixture *f = *state;
	struct mac one = mac(1);
	struct ipaddr a;

	assert_int_equal(dhcp_server_assign(f->server, &one, "c1", &a), 0);
	assert_int_equal(a.b[15], 16);
	dhcp_server_free(f->server);
	start(f);
	assert_int_equal(join(f, 2), 17);
	assert_int_equal(dhcp_server_assign(f->server, &one, "c1", &a), 0);
	assert_int_equal(a.b[15], 16);
	assert_non_null(lease_of_name(dhcp_server_leases(f->server), "c1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_address_is_offered_when_nobody_answers_for_it),
		TEST(an_address_in_use_is_passed_over),
		TEST(what_was_not_given_is_refused),
		TEST(another_servers_offer_is_left_to_it),
		TEST(a_released_address_stays_the_guests),
		TEST(a_declined_address_is_not_given_again),
		TEST(who_is_configured_gets_the_rest_of_it),
		TEST(an_exhausted_range_is_told_and_ends),
		TEST(copies_of_one_machine_get_an_address_each),
		TEST(nobody_asks_for_another),
		TEST(many_may_ask_at_once),
		TEST(leases_and_names_survive_the_program),
		TEST(a_guest_that_is_configured_by_us_has_a_lease_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
