/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/framing.h"

/* FRAMING_FRAME if the window's length field is there and allowed. */
static enum framing_status read_length(const struct framing_window *w, size_t *len)
{
	if (w->len < FRAMING_HEADER_SIZE)
		return FRAMING_PARTIAL;
	*len = get_be32(w->data);
	if (*len > FRAME_MAX_SIZE)
		return FRAMING_OVERSIZED;
	return FRAMING_FRAME;
}

enum framing_status framing_next(struct framing_window *w, struct iovec *frame)
{
	enum framing_status status;
	size_t len;

	status = read_length(w, &len);
	if (status != FRAMING_FRAME)
		return status;
	if (w->len - FRAMING_HEADER_SIZE < len)
		return FRAMING_PARTIAL;
	*frame = (struct iovec){ w->data + FRAMING_HEADER_SIZE, len };
	w->data += FRAMING_HEADER_SIZE + len;
	w->len -= FRAMING_HEADER_SIZE + len;
	return len < ETH_HEADER_SIZE ? FRAMING_RUNT : FRAMING_FRAME;
}

size_t framing_missing(const struct framing_window *w)
{
	enum framing_status status;
	size_t len;

	status = read_length(w, &len);
	if (status == FRAMING_PARTIAL)
		return FRAMING_HEADER_SIZE - w->len;
	if (status != FRAMING_FRAME || w->len >= FRAMING_HEADER_SIZE + len)
		return 0;
	return FRAMING_HEADER_SIZE + len - w->len;
}
