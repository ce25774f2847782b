/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_place.h"

#include <errno.h>
#include <string.h>

#include "forwarder/tunnel.h"
#include "netstack/base/bytes.h"

/* The room that the fixed parts take. */
#define OTHERS 64U

static void add_number(struct ssh_place *p, uint32_t number)
{
	put_be32(p->message + p->len, number);
	p->len += 4;
}

static void add_string(struct ssh_place *p, const char *text)
{
	size_t len = strlen(text);

	add_number(p, (uint32_t)len);
	memcpy(p->message + p->len, text, len);
	p->len += len;
}

/* To all addresses nobody can connect; the kernel means its own by it, and sshd
 * would look it up as a name. */
static const char *address_text(const struct ipaddr *addr, char text[static ADDR_TEXT_SIZE])
{
	if (!ipaddr_is_any(addr))
		return ipaddr_format(addr, text);
	return ipaddr_is_v4(addr) ? "127.0.0.1" : "::1";
}

int ssh_place_make(const struct tunnel_place *guest, struct ssh_place *out)
{
	char text[ADDR_TEXT_SIZE];

	out->len = 0;
	out->is_command = false;
	if (guest->path) {
		if (strlen(guest->path) > SSH_PLACE_SIZE - OTHERS)
			return -ENAMETOOLONG;
		out->type = "direct-streamlocal@openssh.com";
		add_string(out, guest->path);
		add_string(out, "");
		add_number(out, 0);
		return 0;
	}
	out->type = "direct-tcpip";
	add_string(out, address_text(&guest->endpoint.addr, text));
	add_number(out, guest->endpoint.port);
	add_string(out, "127.0.0.1"); /* who connects: nobody in the guest knows them */
	add_number(out, 0);
	return 0;
}

int ssh_place_command(const char *command, struct ssh_place *out)
{
	out->type = "session";
	out->is_command = true;
	out->len = strlen(command);
	if (out->len > sizeof(out->message))
		return -ENAMETOOLONG;
	memcpy(out->message, command, out->len);
	return 0;
}
