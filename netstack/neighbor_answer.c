/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/neighbor_answer.h"

#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

#define ARP_SIZE 28U
#define ARP_OPERATION 6U
#define ARP_SENDER 8U /* a MAC and an address */
#define ARP_TARGET 18U
#define ARP_PAIR 10U
#define IP6_SIZE 40U
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_SOLICITED_OVERRIDE 0x60
#define ND_SIZE 32U /* with one option */
#define ND_OPTION_TARGET_MAC 2

bool neighbor_is_question(const uint8_t *frame, size_t len, struct ipaddr *target)
{
	const uint8_t *p = frame + ETH_HEADER_SIZE;

	if (len >= ETH_HEADER_SIZE + ARP_SIZE && get_be16(frame + 12) == ETHERTYPE_ARP_ &&
	    get_be16(p + ARP_OPERATION) == 1) {
		*target = ipaddr_from_v4(p + ARP_TARGET + 6);
		return true;
	}
	if (len >= ETH_HEADER_SIZE + IP6_SIZE + 24 && get_be16(frame + 12) == ETHERTYPE_IP6 &&
	    p[6] == IP_PROTO_ICMP6 && p[IP6_SIZE] == ND_SOLICITATION) {
		*target = ipaddr_from_v6(p + IP6_SIZE + 8);
		return true;
	}
	return false;
}

static size_t answer_arp(const uint8_t *question, const struct mac *mac, uint8_t *answer)
{
	const uint8_t *asked = question + ETH_HEADER_SIZE;
	uint8_t *arp = answer + ETH_HEADER_SIZE;

	memcpy(arp, asked, ARP_OPERATION);
	put_be16(arp + ARP_OPERATION, 2);
	memcpy(arp + ARP_SENDER, mac->b, 6);
	memcpy(arp + ARP_SENDER + 6, asked + ARP_TARGET + 6, 4);
	memcpy(arp + ARP_TARGET, asked + ARP_SENDER, ARP_PAIR);
	return ETH_HEADER_SIZE + ARP_SIZE;
}

static size_t answer_nd(const uint8_t *question, const struct mac *mac, uint8_t *answer)
{
	const uint8_t *asked = question + ETH_HEADER_SIZE;
	struct ipaddr target = ipaddr_from_v6(asked + IP6_SIZE + 8);
	struct ipaddr asker = ipaddr_from_v6(asked + 8);
	const struct ip_fields ip = {
		.src = &target, .dst = &asker, .protocol = IP_PROTO_ICMP6, .payload_len = ND_SIZE
	};
	uint8_t *icmp = answer + ETH_HEADER_SIZE + IP6_SIZE;
	uint16_t sum;

	packet_put_ip(answer + ETH_HEADER_SIZE, &ip);
	answer[ETH_HEADER_SIZE + 7] = 255; /* hop limit: never routed */
	memset(icmp, 0, ND_SIZE);
	icmp[0] = ND_ADVERTISEMENT;
	icmp[4] = ND_SOLICITED_OVERRIDE;
	memcpy(icmp + 8, target.b, 16);
	icmp[24] = ND_OPTION_TARGET_MAC;
	icmp[25] = 1;
	memcpy(icmp + 26, mac->b, 6);
	sum = checksum_finish(checksum_add(
		checksum_pseudo(&target, &asker, IP_PROTO_ICMP6, ND_SIZE), icmp, ND_SIZE));
	memcpy(icmp + 2, &sum, 2);
	return ETH_HEADER_SIZE + IP6_SIZE + ND_SIZE;
}

size_t neighbor_answer(const uint8_t *question, const struct mac *mac,
		       uint8_t answer[static NEIGHBOR_ANSWER_SIZE])
{
	struct mac asker;
	uint16_t ethertype = get_be16(question + 12);

	memcpy(asker.b, question + 6, sizeof(asker.b));
	packet_put_ethernet(answer, &asker, mac, ethertype);
	return ethertype == ETHERTYPE_ARP_ ? answer_arp(question, mac, answer) :
					     answer_nd(question, mac, answer);
}
