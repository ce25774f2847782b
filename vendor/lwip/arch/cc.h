/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How lwIP meets this compiler and this program. lwIP includes it through
 * "lwip/arch.h", which supplies everything not said here (integer types,
 * packed structs for gcc and clang).
 *
 * The functions declared here and in lwip_hooks.h are the port: they are
 * implemented in netstack/lwip/, because randomness, logging and time are the
 * program's business and not a library's. */
#include <endian.h> /* BYTE_ORDER, else arch.h assumes little-endian */
#include <stdint.h>

/* TCP_MAXRTX and TCP_SYNMAXRTX, see lwipopts.h. */
enum { LWIP_PORT_MAXRTX = 30, LWIP_PORT_SYNMAXRTX = 60 };

/* An unpredictable number: lwIP picks its first ephemeral ports with it. */
uint32_t lwip_port_rand(void);
#define LWIP_RAND() lwip_port_rand()

/* Byte order by compiler builtin: lwIP's own is a function call per field. On
 * a big-endian machine lwIP defines these names itself, as nothing. */
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS 1
#if BYTE_ORDER == LITTLE_ENDIAN
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)
#endif

/* A broken lwIP invariant is our own bug: say where, then abort. Never
 * returns. Enabled in every build, release included. */
__attribute__((noreturn)) void lwip_port_assert(const char *what, const char *file, int line);
#define LWIP_PLATFORM_ASSERT(x) lwip_port_assert((x), __FILE__, __LINE__)

/* Diagnostics exist only with LWIP_DEBUG, which no build of ours sets; defined
 * so that arch.h does not pull in printf. */
#define LWIP_PLATFORM_DIAG(x) ((void)0)
