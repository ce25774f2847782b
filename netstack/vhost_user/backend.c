/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/vhost_user/internal.h"

#define VRING_NO_FD 0x100U
#define VRING_INDEX_MASK 0xffU

#define PROTOCOL_FEATURES                                                       \
	(1ULL << VHOST_PROTOCOL_F_REPLY_ACK |                                   \
	 1ULL << VHOST_PROTOCOL_F_BACKEND_REQ | /* or UML finds no interrupt */ \
	 1ULL << VHOST_PROTOCOL_F_CONFIG | 1ULL << VHOST_PROTOCOL_F_RESET_DEVICE)

static void set_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* ---- messages ---- */

/* Payloads, as the specification names them. */
struct vring_state {
	uint32_t index, num;
};

struct vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct memory_table {
	uint32_t n_regions, padding;
	struct guest_region regions[GUEST_MEMORY_MAX_REGIONS];
};

struct config_header {
	uint32_t offset, size, flags;
};

static uint64_t get_u64(const struct vhost_message *m)
{
	uint64_t v;

	memcpy(&v, m->payload, sizeof(v));
	return v;
}

static struct vring *find_vring(struct vhost_backend *b, uint64_t index)
{
	return index < b->device.n_queues ? &b->vrings[index] : NULL;
}

static int answer_with(struct vhost_answer *a, const void *payload, uint32_t size)
{
	a->is_needed = true;
	a->size = size;
	memcpy(a->payload, payload, size);
	return 0;
}

static int answer_u64(struct vhost_answer *a, uint64_t value)
{
	return answer_with(a, &value, sizeof(value));
}

typedef int handler_fn(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a);

static int on_get_features(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	(void)m;
	return answer_u64(a, b->device.features);
}

static int on_set_features(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	uint64_t features = get_u64(m);

	(void)a;
	if (features & ~b->device.features)
		return -EINVAL;
	b->features = features;
	return 0;
}

static int on_get_protocol_features(struct vhost_backend *b, struct vhost_message *m,
				    struct vhost_answer *a)
{
	(void)b;
	(void)m;
	return answer_u64(a, PROTOCOL_FEATURES);
}

static int on_set_protocol_features(struct vhost_backend *b, struct vhost_message *m,
				    struct vhost_answer *a)
{
	uint64_t features = get_u64(m);

	(void)a;
	if (features & ~PROTOCOL_FEATURES)
		return -EINVAL;
	b->protocol_features = features;
	return 0;
}

static int on_ignored(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	(void)b;
	(void)m;
	(void)a;
	return 0;
}

static int on_reset(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	(void)m;
	(void)a;
	for (unsigned int i = 0; i < b->device.n_queues; i++) {
		vring_stop(&b->vrings[i]);
		b->vrings[i].is_enabled = b->vrings[i].has_address = false;
	}
	return 0;
}

static int on_set_mem_table(struct vhost_backend *b, struct vhost_message *m,
			    struct vhost_answer *a)
{
	struct guest_memory *memory;
	struct memory_table table;
	int r = 0;

	(void)a;
	if (m->size < 8)
		return -EINVAL;
	memset(&table, 0, sizeof(table));
	memcpy(&table, m->payload, m->size < sizeof(table) ? m->size : sizeof(table));
	if (table.n_regions > GUEST_MEMORY_MAX_REGIONS || m->n_fds != table.n_regions ||
	    m->size < 8 + table.n_regions * sizeof(struct guest_region))
		return -EINVAL;
	r = guest_memory_new(table.regions, m->fds, table.n_regions, &memory);
	if (r < 0)
		return r;
	guest_memory_unref(b->memory);
	b->memory = memory;
	for (unsigned int i = 0; r == 0 && i < b->device.n_queues; i++)
		r = vring_move(&b->vrings[i], memory);
	return r;
}

static int on_set_vring_num(struct vhost_backend *b, struct vhost_message *m,
			    struct vhost_answer *a)
{
	struct vring_state state;
	struct vring *v;

	(void)a;
	memcpy(&state, m->payload, sizeof(state));
	v = find_vring(b, state.index);
	if (!v || !virtqueue_size_is_valid(state.num))
		return -EINVAL;
	vring_stop(v);
	v->layout.size = state.num;
	return 0;
}

static int on_set_vring_addr(struct vhost_backend *b, struct vhost_message *m,
			     struct vhost_answer *a)
{
	struct vring_addr addr;
	struct vring *v;

	(void)a;
	memcpy(&addr, m->payload, sizeof(addr));
	v = find_vring(b, addr.index);
	if (!v || addr.flags) /* a log of written pages, which was not offered */
		return -EINVAL;
	vring_stop(v);
	v->layout.desc = addr.desc;
	v->layout.avail = addr.avail;
	v->layout.used = addr.used;
	v->has_address = true;
	return vring_try_start(v);
}

static int on_get_vring_base(struct vhost_backend *b, struct vhost_message *m,
			     struct vhost_answer *a)
{
	struct vring_state state;
	struct vring *v;

	memcpy(&state, m->payload, sizeof(state));
	v = find_vring(b, state.index);
	if (!v)
		return -EINVAL;
	vhost_backend_flush(b, state.index);
	state.num = v->queue.next_used;
	vring_stop(v);
	set_fd(&v->kick_fd, -1); /* it starts with a new one */
	return answer_with(a, &state, sizeof(state));
}

/* The queue's number and the descriptor that comes with it; -1: none. */
static int take_vring_fd(struct vhost_backend *b, struct vhost_message *m, struct vring **out)
{
	uint64_t v = get_u64(m);
	bool has_fd = !(v & VRING_NO_FD);

	*out = find_vring(b, v & VRING_INDEX_MASK);
	if (!*out || m->n_fds != has_fd)
		*out = NULL;
	return *out && has_fd ? vhost_message_take_fd(m, 0) : -1;
}

static int on_set_vring_kick(struct vhost_backend *b, struct vhost_message *m,
			     struct vhost_answer *a)
{
	struct vring *v;
	int fd = take_vring_fd(b, m, &v);

	(void)a;
	if (!v || fd < 0)
		return -EINVAL; /* without one we would have to poll */
	vring_stop(v);
	set_fd(&v->kick_fd, fd);
	return vring_try_start(v);
}

/* A writer must not be able to stop us. */
static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

/* Where the driver is told of used chains, or the front end of an error. */
static int on_set_vring_signal(struct vhost_backend *b, struct vhost_message *m,
			       struct vhost_answer *a)
{
	struct vring *v;
	int fd = take_vring_fd(b, m, &v);

	(void)a;
	if (!v)
		return -EINVAL;
	set_fd(m->request == VHOST_SET_VRING_CALL ? &v->call_fd : &v->err_fd, fd);
	return fd < 0 ? 0 : set_nonblocking(fd);
}

static int on_get_queue_num(struct vhost_backend *b, struct vhost_message *m,
			    struct vhost_answer *a)
{
	(void)m;
	return answer_u64(a, b->device.n_queues);
}

static int on_set_vring_enable(struct vhost_backend *b, struct vhost_message *m,
			       struct vhost_answer *a)
{
	struct vring_state state;
	struct vring *v;

	(void)a;
	memcpy(&state, m->payload, sizeof(state));
	v = find_vring(b, state.index);
	if (!v || state.num > 1)
		return -EINVAL;
	v->is_enabled = state.num;
	if (v->is_enabled)
		return vring_try_start(v);
	vhost_backend_flush(b, state.index);
	vring_stop(v);
	return 0;
}

/* Kept open: UML takes its end for a broken device. */
static int on_set_request_fd(struct vhost_backend *b, struct vhost_message *m,
			     struct vhost_answer *a)
{
	(void)a;
	if (m->n_fds != 1)
		return -EINVAL;
	set_fd(&b->request_fd, vhost_message_take_fd(m, 0));
	return 0;
}

/* An empty answer says that there is no such part. */
static int on_get_config(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	struct config_header h;

	if (m->size < sizeof(h))
		return -EINVAL;
	memcpy(&h, m->payload, sizeof(h));
	a->is_needed = true;
	if (h.offset > b->device.config_size || h.size > b->device.config_size - h.offset)
		return 0;
	a->size = (uint32_t)sizeof(h) + h.size;
	memcpy(a->payload, &h, sizeof(h));
	memcpy(a->payload + sizeof(h), b->device.config + h.offset, h.size);
	return 0;
}

#define ANY_SIZE UINT32_MAX

static const struct request {
	const char *name;
	uint32_t size; /* of its payload */
	handler_fn *handle;
} requests[] = {
	[VHOST_GET_FEATURES] = { "GET_FEATURES", 0, on_get_features },
	[VHOST_SET_FEATURES] = { "SET_FEATURES", 8, on_set_features },
	[VHOST_SET_OWNER] = { "SET_OWNER", 0, on_ignored },
	[VHOST_RESET_OWNER] = { "RESET_OWNER", 0, on_reset },
	[VHOST_SET_MEM_TABLE] = { "SET_MEM_TABLE", ANY_SIZE, on_set_mem_table },
	[VHOST_SET_VRING_NUM] = { "SET_VRING_NUM", 8, on_set_vring_num },
	[VHOST_SET_VRING_ADDR] = { "SET_VRING_ADDR", 40, on_set_vring_addr },
	/* a queue knows by its rings where to go on: see virtqueue_start() */
	[VHOST_SET_VRING_BASE] = { "SET_VRING_BASE", 8, on_ignored },
	[VHOST_GET_VRING_BASE] = { "GET_VRING_BASE", 8, on_get_vring_base },
	[VHOST_SET_VRING_KICK] = { "SET_VRING_KICK", 8, on_set_vring_kick },
	[VHOST_SET_VRING_CALL] = { "SET_VRING_CALL", 8, on_set_vring_signal },
	[VHOST_SET_VRING_ERR] = { "SET_VRING_ERR", 8, on_set_vring_signal },
	[VHOST_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, on_get_protocol_features },
	[VHOST_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", 8, on_set_protocol_features },
	[VHOST_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, on_get_queue_num },
	[VHOST_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", 8, on_set_vring_enable },
	[VHOST_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", ANY_SIZE, on_set_request_fd },
	[VHOST_GET_CONFIG] = { "GET_CONFIG", ANY_SIZE, on_get_config },
	[VHOST_RESET_DEVICE] = { "RESET_DEVICE", 0, on_reset },
};
#define N_REQUESTS (sizeof(requests) / sizeof(requests[0]))

static int dispatch(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a,
		    const char **name)
{
	const struct request *r = m->request < N_REQUESTS ? &requests[m->request] : NULL;

	*name = "unknown";
	if (!r || !r->handle)
		return -EOPNOTSUPP;
	*name = r->name;
	if (r->size != ANY_SIZE && m->size != r->size)
		return -EINVAL;
	return r->handle(b, m, a);
}

int vhost_backend_handle(struct vhost_backend *b, struct vhost_message *m, struct vhost_answer *a)
{
	/* UML asks for it in the very message that agrees on such answers */
	bool wants_ack = m->flags & VHOST_FLAG_NEED_REPLY;
	const char *name;
	int r;

	a->is_needed = false;
	a->size = 0;
	r = dispatch(b, m, a, &name);
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "%s: vhost-user message %u (%s) was refused: %s",
			    b->device.name, m->request, name, strerror(-r));
	if (a->is_needed || (r < 0 && !wants_ack))
		return r;
	return wants_ack ? answer_u64(a, (uint64_t)(int64_t)-r) : 0;
}

/* ---- life ---- */

void vhost_backend_reset(struct vhost_backend *b)
{
	for (unsigned int i = 0; i < b->device.n_queues; i++) {
		struct vring *v = &b->vrings[i];

		vring_stop(v);
		set_fd(&v->kick_fd, -1);
		set_fd(&v->call_fd, -1);
		set_fd(&v->err_fd, -1);
		v->has_address = v->is_enabled = false;
		v->layout.size = 0;
	}
	guest_memory_unref(b->memory);
	b->memory = NULL;
	b->features = b->protocol_features = 0;
	set_fd(&b->request_fd, -1);
}

int vhost_backend_new(struct loop *loop, const struct vhost_device *device,
		      struct vhost_backend **out)
{
	struct vhost_backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	assert(device->n_queues <= VHOST_MAX_QUEUES && device->n_needed <= device->n_queues &&
	       device->n_needed > 0 &&
	       device->config_size <= VHOST_MAX_PAYLOAD - sizeof(struct config_header));
	b->loop = loop;
	b->device = *device;
	b->request_fd = -1;
	for (unsigned int i = 0; i < VHOST_MAX_QUEUES; i++) {
		struct vring *v = &b->vrings[i];

		v->backend = b;
		v->kick_fd = v->call_fd = v->err_fd = -1;
	}
	vring_init_polling(b);
	*out = b;
	return 0;
}

void vhost_backend_free(struct vhost_backend *b)
{
	if (!b)
		return;
	b->is_started = false; /* nobody is to be told: a needed queue stops first */
	vhost_backend_reset(b);
	vring_end_polling(b);
	free(b);
}
