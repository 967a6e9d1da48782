/* SPDX-License-Identifier: GPL-2.0-only */
/* What every generated program needs: the few kernel types and helpers it uses, no vmlinux.h. */
#ifndef LTRULES_BPF_H
#define LTRULES_BPF_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;
#define true 1
#define false 0

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define CORE __attribute__((preserve_access_index))

/* Numbers of include/uapi/linux/bpf.h. */
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_NOEXIST = 1, BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2, BPF_RB_AVAIL_DATA = 0 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *buf, u32 size) = (void *)16;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_get_numa_node_id)(void) = (void *)42;
static u64 (*bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *dst, u32 size, const void *from) = (void *)115;
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static void *(*bpf_ringbuf_reserve)(void *ringbuf, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;
static u64 (*bpf_ringbuf_query)(void *ringbuf, u64 flags) = (void *)134;
static long (*bpf_for_each_map_elem)(void *map, void *callback, void *context, u64 flags) = (void *)164;
static long (*bpf_timer_init)(void *timer, void *map, u64 flags) = (void *)169;
static long (*bpf_timer_set_callback)(void *timer, void *callback) = (void *)170;
static long (*bpf_timer_start)(void *timer, u64 ns, u64 flags) = (void *)171;
static long (*bpf_loop)(u32 times, void *callback, void *context, u64 flags) = (void *)181;

/* The members of kernel types that raw tracepoints lead to; their offsets are relocated when the program is loaded. */
struct thread_info {
	u32 cpu;
} CORE;

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	int prio;
	int exit_state;
	char comm[16];
	struct task_struct *real_parent;
} CORE;

struct irqaction {
	const char *name;
} CORE;

struct gendisk {
	int major;
	int first_minor;
} CORE;

struct request_queue {
	struct gendisk *disk;
} CORE;

struct request {
	struct request_queue *q;
	u32 cmd_flags;
	u32 __data_len;
	u64 __sector;
} CORE;

struct work_struct {
	void *func;
} CORE;

struct workqueue_struct {
	char name[32];
} CORE;

struct pool_workqueue {
	struct workqueue_struct *wq;
} CORE;

/* What sched_switch exports as prev_state: __trace_sched_switch_state() in include/trace/events/sched.h. */
static __always_inline s64 task_state(bool preempt, u32 state, struct task_struct *task)
{
	u32 seen = (state | task->exit_state) & 0x7f;	/* TASK_REPORT */

	if (preempt)
		return 0x100;				/* TASK_REPORT_MAX */
	if ((state & 0x402) == 0x402)			/* TASK_IDLE */
		return 0x80;
	if (state & 0x1000)				/* TASK_RTLOCK_WAIT */
		return 2;
	if (state & 0x8000)				/* TASK_FROZEN */
		return 2;
	if (seen & 0x40)
		return 0x40;
	if (seen & 0x20)
		return 0x20;
	if (seen & 0x10)
		return 0x10;
	if (seen & 8)
		return 8;
	if (seen & 4)
		return 4;
	return seen & 2 ? 2 : seen & 1;
}

static __always_inline u32 parent_tgid(void)
{
	struct task_struct *task = (void *)bpf_get_current_task(), *parent = 0;
	u32 tgid = 0;

	bpf_probe_read_kernel(&parent, sizeof(parent), &task->real_parent);
	bpf_probe_read_kernel(&tgid, sizeof(tgid), &parent->tgid);
	return tgid;
}

/* A pointer as a number: the verifier lets nobody compute with a pointer that it knows, so that it is read back from the stack. */
static __always_inline u64 address(void *pointer)
{
	u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

/* disk_devt() of include/linux/blkdev.h, as the block events export it. */
static __always_inline s64 request_dev(struct request *rq)
{
	struct gendisk *disk = rq->q->disk;

	return disk ? ((u64)disk->major << 20) | disk->first_minor : 0;
}

/* Requests that a driver made for itself carry no sector: blk_rq_is_passthrough() in include/linux/blk-mq.h. */
static __always_inline bool request_passthrough(struct request *rq)
{
	u32 op = rq->cmd_flags & 0xff;

	return op == 34 || op == 35;			/* REQ_OP_DRV_IN, REQ_OP_DRV_OUT */
}

static __always_inline u64 request_sector(struct request *rq)
{
	return request_passthrough(rq) || rq->__sector == ~0ULL ? 0 : rq->__sector;
}

static __always_inline u64 request_sectors(struct request *rq)
{
	return request_passthrough(rq) ? 0 : rq->__data_len >> 9;
}

/* BPF divides unsigned numbers only, before version 4; dividing by zero gives 0. */
static __always_inline s64 divide(s64 a, s64 b)
{
	u64 x = a < 0 ? -(u64)a : a, y = b < 0 ? -(u64)b : b;

	if (!y)
		return 0;
	return (a < 0) != (b < 0) ? -(x / y) : x / y;
}

static __always_inline s64 remainder(s64 a, s64 b)
{
	u64 x = a < 0 ? -(u64)a : a, y = b < 0 ? -(u64)b : b;

	if (!y)
		return 0;
	return a < 0 ? -(x % y) : x % y;
}

static __always_inline u64 divide_unsigned(u64 a, u64 b)
{
	return b ? a / b : 0;
}

static __always_inline u64 remainder_unsigned(u64 a, u64 b)
{
	return b ? a % b : 0;
}

/* Strings are zero-padded rows of words: equal when their words are, and the rest of the longer one is zero. */
static __always_inline bool strings_equal(const void *a, u32 a_words, const void *b, u32 b_words)
{
	const u64 *x = a, *y = b;
	u32 words = a_words > b_words ? a_words : b_words;

#pragma unroll
	for (u32 i = 0; i < words; i++)
		if ((i < a_words ? x[i] : 0) != (i < b_words ? y[i] : 0))
			return false;
	return true;
}

/*
 * Make the verifier forget which slot was chosen: it would walk through all that follows once for each of them. `unknown` is
 * any number that it does not know. The mask tells it what clang knows already and therefore does not check again: a slot's
 * number is below WAYS.
 */
static __always_inline u32 forget(u32 value, u64 unknown)
{
	u64 hidden = value;

	asm volatile("%0 += %1\n\t%0 -= %1\n\t%0 &= 7" : "+r"(hidden) : "r"(unknown));
	return hidden;
}

/* Tell whether two numbers differ, without the verifier learning what they are. */
static __always_inline bool differ(u64 a, u64 b)
{
	asm volatile("%0 ^= %1" : "+r"(a) : "r"(b));
	return a;
}

/* One reading of the clock for all handlers of an event, and none if no handler needs it. */
static __always_inline u64 event_time(u64 *now)
{
	if (!*now)
		*now = bpf_ktime_get_ns();
	return *now;
}

/*
 * A slot's state: 0 free, BUSY while one CPU owns it, else the opening time shifted left by one, with bit 0 set once its
 * timeout was reported. CLOCK_MONOTONIC needs 63 bits in 292 years.
 */
#define BUSY 1ULL
#define REPORTED 1ULL
/* Slots in a set: their states fill one cache line. */
#define WAYS 8

static __always_inline u64 swap_if(u64 *word, u64 expected, u64 next)
{
	return __sync_val_compare_and_swap(word, expected, next);
}

static __always_inline u64 exchange(u64 *word, u64 next)
{
	return __sync_lock_test_and_set(word, next);
}

static __always_inline void publish(u64 *state, u64 next)
{
	/* An exchange orders all that was written to the slot before it. */
	(void)exchange(state, next);
}

/* Take a slot over, if its measurement is still the one that was found; a sweep may have marked it meanwhile. */
static __always_inline bool claim(u64 *slot, u64 *state, u64 next)
{
	u64 found = swap_if(slot, *state, next);

	if (found == *state)
		return true;
	if (found != (*state | REPORTED))
		return false;
	*state = found;
	return swap_if(slot, found, next) == found;
}

/* Own a free slot of a set; WAYS if all are taken. */
static __always_inline u32 claim_free(u64 *states)
{
#pragma unroll
	for (u32 way = 0; way < WAYS; way++)
		if (!READ_ONCE(states[way]) && !swap_if(&states[way], 0, BUSY))
			return way;
	return WAYS;
}

/* The slot of a set that was opened first, and its state, 0 if there is none. */
static __always_inline u32 oldest(u64 *states, u64 *state)
{
	u32 found = 0;

	*state = 0;
#pragma unroll
	for (u32 way = 0; way < WAYS; way++) {
		u64 seen = READ_ONCE(states[way]);

		if (seen > BUSY && (!*state || seen < *state)) {
			*state = seen;
			found = way;
		}
	}
	return forget(found, *state);
}

static __always_inline void add(u64 *counter, u64 n)
{
	/* Per-CPU, but an interrupt may run the same program on this CPU in the midst of an addition. */
	__sync_fetch_and_add(counter, n);
}

/* Keep the compiler from dropping a bounds check that it can prove and the verifier cannot. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* The log-linear bucket of a value: see BUCKETS. */
static __always_inline u32 bucket_of(u64 value)
{
	u64 v = value;
	u32 exponent = 0;

	if (value < 16)
		return value;
	if (v >> 44)
		return 655;
	if (v >> 32) { v >>= 32; exponent += 32; }
	if (v >> 16) { v >>= 16; exponent += 16; }
	if (v >> 8) { v >>= 8; exponent += 8; }
	if (v >> 4) { v >>= 4; exponent += 4; }
	if (v >> 2) { v >>= 2; exponent += 2; }
	if (v >> 1) exponent += 1;
	return (exponent - 3) * 16 + ((value >> (exponent - 4)) & 15);
}

/* The ranks of signed numbers, with this bit flipped, are in order as unsigned ones. */
#define SIGN (1ULL << 63)

struct statistic {
	u64 count;
	u64 sum;
	u64 min;	/* ranks */
	u64 max;
};

/* `flip` is SIGN for a signed value, else 0. */
static __always_inline void statistic_add(struct statistic *s, u64 value, u64 flip)
{
	u64 rank = value ^ flip;

	if (!s->count || rank < s->min)
		s->min = rank;
	if (rank > s->max)
		s->max = rank;
	add(&s->sum, value);
	add(&s->count, 1);
}

/* Of more CPUs than this that open one key in the same moment, some measurement may stay beside its successor for a while. */
#define TWINS 3

/* Of two slots that hold one key, free the one that was opened earlier. Return whether we did. */
static __always_inline bool keep_last(u64 *states, u32 way, u64 mine, u32 other, u64 seen)
{
	u64 theirs = seen & ~REPORTED;

	if (theirs < mine || (theirs == mine && other < way))
		return swap_if(&states[other], seen, 0) == seen;
	return swap_if(&states[way], mine, 0) == mine;
}

/* Of two slots that hold one key, free the one that was opened later. Return whether we did. */
static __always_inline bool keep_first(u64 *states, u32 way, u64 mine, u32 other, u64 seen)
{
	u64 theirs = seen & ~REPORTED;

	if (theirs > mine || (theirs == mine && other > way))
		return swap_if(&states[other], seen, 0) == seen;
	return swap_if(&states[way], mine, 0) == mine;
}

/* Alerts of the present period, and how many were held back: the period's number above the low 24 bits. */
struct rate {
	u64 window;
	u64 suppressed;
};

static __always_inline bool rate_admits(struct rate *rate, u64 now, u64 most, u64 period)
{
	u64 window = divide_unsigned(now, period) << 24;
	u64 seen = READ_ONCE(rate->window);

	if (most > 0xffffff)
		most = 0xffffff;
	if (seen >> 24 != window >> 24 && most) {
		u64 found = swap_if(&rate->window, seen, window | 1);

		if (found == seen)
			return true;
		seen = found;
	}
	if ((seen & 0xffffff) < most && (__sync_fetch_and_add(&rate->window, 1) & 0xffffff) < most)
		return true;
	add(&rate->suppressed, 1);
	return false;
}

/* How the sweep goes about a rule: see sweep.bpf.h. User space keeps this in step with the rule's limits. */
struct pace {
	u64 due;	/* ns: the least age at which anything happens to a pending measurement */
	u64 timeout;	/* ns; 0: nothing is queued */
	u64 shift;	/* a span of the queue lasts 1 << shift ns */
	u64 scan_ns;	/* time for a set, when all are looked at in turn; 0: they are not */
	u64 sets;
};

/*
 * Whether a report wakes the reader of its ring, who looks by itself every so often. To wake it costs the traced event more than
 * all else that we do to it, so only a ring that fills does: at an eighth of its size. A few reports wake there, lest none does
 * when others come between its reservation and this; not all beyond, as they come when the reader is busy or kept off its CPU.
 */
static __always_inline u64 wake_flags(void *ring, u64 size)
{
	u64 beyond = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) - size / 8;

	return beyond < size / 64 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* The size of a ring buffer map in bytes. */
#define RING_BYTES(ring) (sizeof(*(ring).max_entries) / sizeof(int))

/* What became of a report when its slot was to be marked. */
enum mark { GONE, HELD_BACK, ADMITTED };

struct head {
	u32 rule;
	u32 kind;
	u64 opened;
	u64 closed;
	u64 latency;
	s64 limit;
	u64 suppressed;
	u32 cpu;
	u32 flags;
};

enum { KIND_ALERT = 0, KIND_TIMEOUT = 1 };
enum { FLAG_LATE = 1, OUTCOME_SHIFT = 8 };

#endif
