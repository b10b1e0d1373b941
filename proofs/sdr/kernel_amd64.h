#include "go_asm.h"
#include "textflag.h"

// What the kernels for one sector and for two have in common. Their constants
// are in kernel_amd64.s.

// General registers of both functions.
#define S R8       // scratch; its first bytes are the schedules
#define PARENTS R9 // of the node
#define CUR R10
#define PREV R11
#define NODE R12
#define END R13    // schedule slot behind the last distinct block
#define COUNT R14
#define PAIR SI    // pair of addresses of the next block to schedule
#define ROUNDS BX  // slot of the block being hashed
#define SCHED DX   // slot of the block being scheduled
#define LEFT DI    // nodes

// FIRST loads the 16 bytes at p+off as words i … i+3 of the schedule.
#define FIRST(i, p, off, slot, m, t) \
	VMOVDQU off(p), m; \
	VPSHUFB ·shaFlip(SB), m, m; \
	VPADDD ·k256+i*4(SB), m, t; \
	VMOVDQU t, i*4+slot(SCHED)

// NEXT makes words i … i+3 from the four vectors before: a becomes the newest.
#define NEXT(i, slot, a, b, c, d, t) \
	SHA256MSG1 b, a; \
	VPALIGNR $4, c, d, t; \
	VPADDD t, a, a; \
	SHA256MSG2 d, a; \
	VPADDD ·k256+i*4(SB), a, t; \
	VMOVDQU t, i*4+slot(SCHED)

// HALF is two rounds with the scheduled words at off of the slot in w.
#define HALF(off, w, x, y) \
	VMOVQ off(w), X0; \
	SHA256RNDS2 X0, x, y

// LABELADDR puts the address of the label of parent i into pair entry j.
#define LABELADDR(i, j, base, shift) \
	MOVL i*4(PARENTS), AX; \
	SHLQ $shift, AX; \
	ADDQ base, AX; \
	MOVQ AX, scratch_pairs+j*8(S)

// FETCH asks for the label of parent i of the node prefetchNodes ahead.
#define FETCH(i, base, shift) \
	MOVL (const_prefetchNodes*const_Degree+i)*4(PARENTS), AX; \
	SHLQ $shift, AX; \
	PREFETCHT0 (base)(AX*1)

#define BASEADDRS(shift) \
	LABELADDR(0, 0, CUR, shift); \
	LABELADDR(1, 1, CUR, shift); \
	LABELADDR(2, 2, CUR, shift); \
	LABELADDR(3, 3, CUR, shift); \
	LABELADDR(4, 4, CUR, shift); \
	LABELADDR(5, 5, CUR, shift); \
	FETCH(0, CUR, shift); \
	FETCH(1, CUR, shift); \
	FETCH(2, CUR, shift); \
	FETCH(3, CUR, shift); \
	FETCH(4, CUR, shift); \
	FETCH(5, CUR, shift)

#define EXPADDRS(shift) \
	LABELADDR(6, 6, PREV, shift); \
	LABELADDR(7, 7, PREV, shift); \
	LABELADDR(8, 8, PREV, shift); \
	LABELADDR(9, 9, PREV, shift); \
	LABELADDR(10, 10, PREV, shift); \
	LABELADDR(11, 11, PREV, shift); \
	LABELADDR(12, 12, PREV, shift); \
	LABELADDR(13, 13, PREV, shift); \
	LABELADDR(8, 14, PREV, shift); \
	FETCH(6, PREV, shift); \
	FETCH(7, PREV, shift); \
	FETCH(8, PREV, shift); \
	FETCH(9, PREV, shift); \
	FETCH(10, PREV, shift); \
	FETCH(11, PREV, shift); \
	FETCH(12, PREV, shift); \
	FETCH(13, PREV, shift)

// PAIRS fills in the addresses of the node's blocks, in the order in which they
// are scheduled. The pairs of the padding and the header never change. Layer 1
// has no expansion parents and its 37th parent is the first.
#define PAIRS(shift, done) \
	BASEADDRS(shift); \
	LABELADDR(0, 6, CUR, shift); \
	CMPQ COUNT, $const_pairsLayer1; \
	JEQ done; \
	EXPADDRS(shift); \
done:

// HEAD puts the number in AX into the header, big-endian.
#define HEAD(off) \
	BSWAPQ AX; \
	MOVQ AX, scratch_head+off+4(S)

// STORE writes the hash x, y as a label to off(AX). It spoils x and y.
#define STORE(off, x, y, t, u) \
	VPSHUFD $0x1b, x, x; \
	VPSHUFD $0xb1, y, y; \
	VPBLENDW $0xf0, y, x, t; \
	VPALIGNR $8, x, y, u; \
	VPSHUFB ·shaFlip(SB), t, t; \
	VPSHUFB ·shaFlip(SB), u, u; \
	VPAND ·shaTrim(SB), u, u; \
	VMOVDQU t, off(AX); \
	VMOVDQU u, off+16(AX)

// LOAD takes the job in AX apart.
#define LOAD \
	MOVQ job_scratch(AX), S; \
	MOVQ job_parents(AX), PARENTS; \
	MOVQ job_cur(AX), CUR; \
	MOVQ job_prev(AX), PREV; \
	MOVQ job_node(AX), NODE; \
	MOVQ job_count(AX), LEFT

// SIXTYFOUR is all rounds of a block, four by four.
#define SIXTYFOUR(r) \
	r(0); r(4); r(8); r(12); r(16); r(20); r(24); r(28); \
	r(32); r(36); r(40); r(44); r(48); r(52); r(56); r(60)
