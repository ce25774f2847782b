/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#define DESC_SIZE 16U
#define DESC_F_NEXT 1U
#define DESC_F_WRITE 2U
#define DESC_F_INDIRECT 4U
#define AVAIL_F_NO_INTERRUPT 1U
#define USED_F_NO_NOTIFY 1U

/* Both rings, in 16-bit words: flags, index, then the entries (one word in the
 * available ring, two times 32 bits in the used ring), then the event index. */
enum { RING_FLAGS, RING_INDEX, RING_ENTRIES };
#define USED_ENTRY_WORDS 4U

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* What both sides read and write is read and written once, as it says here. */
static uint16_t load(const uint16_t *at)
{
	return le16toh(__atomic_load_n(at, __ATOMIC_ACQUIRE));
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes to it */
static void store(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, htole16(value), __ATOMIC_RELEASE);
}

/* A private copy: the compiler must not look at the original again. */
static struct desc read_desc(const uint8_t *table, unsigned int i)
{
	struct desc d;

	static_assert(sizeof(d) == DESC_SIZE, "as on the wire");
	memcpy(&d, table + (size_t)i * DESC_SIZE, sizeof(d));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

static uint16_t *used_event(const struct virtqueue *q)
{
	return q->avail + RING_ENTRIES + q->size;
}

static uint16_t *avail_event(const struct virtqueue *q)
{
	return q->used + RING_ENTRIES + (size_t)q->size * USED_ENTRY_WORDS;
}

/* ---- life ---- */

bool virtqueue_size_is_valid(unsigned int size)
{
	return size > 0 && size <= VIRTQUEUE_MAX_SIZE && (size & (size - 1)) == 0;
}

static void *find_part(const struct guest_memory *memory, uint64_t addr, size_t len, size_t align)
{
	void *part = guest_memory_at_user(memory, addr, len);

	return (uintptr_t)part % align ? NULL : part;
}

int virtqueue_start(struct virtqueue *q, struct guest_memory *memory,
		    const struct virtqueue_layout *l)
{
	size_t avail_size = (RING_ENTRIES + l->size + 1) * sizeof(uint16_t);
	size_t used_size = (RING_ENTRIES + USED_ENTRY_WORDS * l->size + 1) * sizeof(uint16_t);

	if (!virtqueue_size_is_valid(l->size))
		return -EINVAL;
	*q = (struct virtqueue){
		.size = l->size,
		.has_event_idx = l->has_event_idx,
		.has_indirect = l->has_indirect,
		.desc = find_part(memory, l->desc, (size_t)l->size * DESC_SIZE, 16),
		.avail = find_part(memory, l->avail, avail_size, 2),
		.used = find_part(memory, l->used, used_size, 4),
	};
	if (!q->desc || !q->avail || !q->used)
		return -EINVAL;
	q->memory = guest_memory_ref(memory);
	q->next_used = q->published = q->signalled = load(q->used + RING_INDEX);
	q->next_avail = q->known_avail = q->next_used;
	virtqueue_disable_kicks(q);
	return 0;
}

void virtqueue_stop(struct virtqueue *q)
{
	guest_memory_unref(q->memory);
	q->memory = NULL;
}

/* ---- chains ---- */

int virtqueue_fail(struct virtqueue *q, const char *fault)
{
	q->fault = fault;
	return -EPROTO;
}

/* Where the walk along a chain is. */
struct walk {
	const uint8_t *table;
	unsigned int table_size, left; /* left: descriptors that may still come */
	bool is_indirect;
	struct iovec *iov;
	unsigned int max;
	struct virtqueue_chain *chain;
};

/* A descriptor may reach over the border of two regions: one entry for each. */
static int add_piece(struct virtqueue *q, struct walk *w, const struct desc *d)
{
	uint64_t addr = d->addr;
	size_t left = d->len;

	while (left) {
		struct virtqueue_chain *c = w->chain;
		size_t len = left;
		void *bytes = guest_memory_at(q->memory, addr, &len);

		if (!bytes)
			return virtqueue_fail(q, "a buffer outside the guest's memory");
		if (c->n_out + c->n_in == w->max)
			return -ENOBUFS;
		w->iov[c->n_out + c->n_in] = (struct iovec){ bytes, len };
		if (d->flags & DESC_F_WRITE) {
			c->n_in++;
			c->in_len += len;
		} else {
			c->n_out++;
			c->out_len += len;
		}
		addr += len;
		left -= len;
	}
	return 0;
}

static int enter_indirect(struct virtqueue *q, struct walk *w, const struct desc *d)
{
	size_t len = d->len;

	if (!q->has_indirect || w->is_indirect || (d->flags & DESC_F_NEXT))
		return virtqueue_fail(q, "an indirect table where none may be");
	if (len == 0 || len % DESC_SIZE || len / DESC_SIZE > q->size)
		return virtqueue_fail(q, "an indirect table of a wrong size");
	w->table = guest_memory_at(q->memory, d->addr, &len);
	if (!w->table || len != d->len)
		return virtqueue_fail(q, "an indirect table outside the guest's memory");
	w->table_size = w->left = (unsigned int)(len / DESC_SIZE);
	w->is_indirect = true;
	return 0;
}

/* 1 when the chain goes on with descriptor *next, 0 when it is complete. */
static int step(struct virtqueue *q, struct walk *w, unsigned int *next)
{
	struct desc d;
	int r;

	if (*next >= w->table_size)
		return virtqueue_fail(q, "a descriptor that does not exist");
	if (w->left-- == 0)
		return virtqueue_fail(q, "a chain that is a loop");
	d = read_desc(w->table, *next);
	if (d.flags & DESC_F_INDIRECT) {
		*next = 0;
		r = enter_indirect(q, w, &d);
		return r < 0 ? r : 1;
	}
	if (!(d.flags & DESC_F_WRITE) && w->chain->n_in)
		return virtqueue_fail(q, "a buffer to be read behind one to be written");
	r = add_piece(q, w, &d);
	*next = d.next;
	if (r < 0)
		return r;
	return d.flags & DESC_F_NEXT ? 1 : 0;
}

/* Whether the driver has made a chain available that was not taken yet. */
static int look(struct virtqueue *q)
{
	if (q->next_avail != q->known_avail)
		return 1;
	q->known_avail = load(q->avail + RING_INDEX);
	if ((uint16_t)(q->known_avail - q->next_avail) > q->size)
		return virtqueue_fail(q, "an index that is ahead by more than the ring has");
	return q->next_avail != q->known_avail;
}

int virtqueue_pop(struct virtqueue *q, struct iovec *iov, unsigned int max,
		  struct virtqueue_chain *chain)
{
	struct walk w = { .table = q->desc, .table_size = q->size, .left = q->size };
	unsigned int next;
	int r;

	if (q->fault)
		return -EPROTO;
	r = look(q);
	if (r <= 0)
		return r;
	next = load(q->avail + RING_ENTRIES + (q->next_avail & (q->size - 1)));
	*chain = (struct virtqueue_chain){ .head = (uint16_t)next };
	w.iov = iov;
	w.max = max;
	w.chain = chain;
	do
		r = step(q, &w, &next);
	while (r == 1);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *q, unsigned int n)
{
	q->next_avail = (uint16_t)(q->next_avail - n);
}

/* ---- back to the driver ---- */

void virtqueue_push(struct virtqueue *q, uint16_t head, size_t len)
{
	uint32_t entry[2] = { htole32(head), htole32((uint32_t)len) };
	size_t i = q->next_used & (q->size - 1);

	memcpy(q->used + RING_ENTRIES + i * USED_ENTRY_WORDS, entry, sizeof(entry));
	q->next_used++;
}

/* Whether the event index lies among what is new since the last decision
 * (virtio 1.1, section 2.6.7.2). */
static bool needs_event(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtqueue_publish(struct virtqueue *q)
{
	uint16_t before = q->signalled;

	if (q->published == q->next_used)
		return false;
	store(q->used + RING_INDEX, q->next_used);
	q->published = q->signalled = q->next_used;
	/* our index before the driver's wish; it does it the other way round */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->has_event_idx)
		return !(load(q->avail + RING_FLAGS) & AVAIL_F_NO_INTERRUPT);
	if (!q->has_signalled) {
		q->has_signalled = true;
		return true;
	}
	return needs_event(load(used_event(q)), q->next_used, before);
}

bool virtqueue_has_more(struct virtqueue *q)
{
	return q->fault || look(q) != 0; /* a fault is for the next pop to tell */
}

bool virtqueue_enable_kicks(struct virtqueue *q)
{
	if (q->has_event_idx)
		store(avail_event(q), q->next_avail);
	else
		store(q->used + RING_FLAGS, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_has_more(q);
}

/* An event index that stays behind is asked for no more. */
void virtqueue_disable_kicks(struct virtqueue *q)
{
	if (!q->has_event_idx)
		store(q->used + RING_FLAGS, USED_F_NO_NOTIFY);
}
