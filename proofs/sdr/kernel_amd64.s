#include "go_asm.h"
#include "textflag.h"

// Labels with the SHA extensions (Intel SDM vol. 2, SHA256RNDS2, SHA256MSG1,
// SHA256MSG2). A label is 20 blocks: header, 18 of two parents each, and the
// 37th parent with the padding. Only 7 of the 18 differ (3 in layer 1), so each
// different block's schedule, with the round constants added, is written to the
// scratch once and read again: the rounds of a block are then two loads and two
// SHA256RNDS2 for four rounds, a chain of 32 dependent instructions that bounds
// the speed of one stream. All else is placed beside that chain: the schedule
// of the block after, and the header block of the node after, which depends on
// no label.

// Byte order of 32-bit words.
DATA flip<>+0x00(SB)/8, $0x0405060700010203
DATA flip<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// Clears the two highest bits of the last byte of a label.
DATA trim<>+0x00(SB)/8, $0xffffffffffffffff
DATA trim<>+0x08(SB)/8, $0x3fffffffffffffff
GLOBL trim<>(SB), RODATA|NOPTR, $16

// Initial hash value, as the instructions want it: F E B A and H G D C.
DATA abef<>+0x00(SB)/8, $0x510e527f9b05688c
DATA abef<>+0x08(SB)/8, $0x6a09e667bb67ae85
GLOBL abef<>(SB), RODATA|NOPTR, $16
DATA cdgh<>+0x00(SB)/8, $0x1f83d9ab5be0cd19
DATA cdgh<>+0x08(SB)/8, $0x3c6ef372a54ff53a
GLOBL cdgh<>(SB), RODATA|NOPTR, $16

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
	VPSHUFB flip<>(SB), m, m; \
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
	VPSHUFB flip<>(SB), t, t; \
	VPSHUFB flip<>(SB), u, u; \
	VPAND trim<>(SB), u, u; \
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

// SCHEDULE1 schedules the block at AX and CX.
#define SCHEDULE1 \
	FIRST(0, AX, 0, 0, X5, X9); \
	FIRST(4, AX, 16, 0, X6, X9); \
	FIRST(8, CX, 0, 0, X7, X9); \
	FIRST(12, CX, 16, 0, X8, X9); \
	NEXT(16, 0, X5, X6, X7, X8, X9); \
	NEXT(20, 0, X6, X7, X8, X5, X9); \
	NEXT(24, 0, X7, X8, X5, X6, X9); \
	NEXT(28, 0, X8, X5, X6, X7, X9); \
	NEXT(32, 0, X5, X6, X7, X8, X9); \
	NEXT(36, 0, X6, X7, X8, X5, X9); \
	NEXT(40, 0, X7, X8, X5, X6, X9); \
	NEXT(44, 0, X8, X5, X6, X7, X9); \
	NEXT(48, 0, X5, X6, X7, X8, X9); \
	NEXT(52, 0, X6, X7, X8, X5, X9); \
	NEXT(56, 0, X7, X8, X5, X6, X9); \
	NEXT(60, 0, X8, X5, X6, X7, X9)

#define FOUR(i) HALF(i*4, ROUNDS, X1, X2); HALF(i*4+8, ROUNDS, X2, X1)

#define SIXTYFOUR(r) \
	r(0); r(4); r(8); r(12); r(16); r(20); r(24); r(28); \
	r(32); r(36); r(40); r(44); r(48); r(52); r(56); r(60)

#define KEEP1 VMOVDQA X1, X3; VMOVDQA X2, X4
#define ADD1 VPADDD X3, X1, X1; VPADDD X4, X2, X2

// Two chains side by side: this node's, and the header of the next in X11, X12.
#define FOURHEAD(i) \
	HALF(i*4, ROUNDS, X1, X2); \
	HALF(i*4, SCHED, X11, X12); \
	HALF(i*4+8, ROUNDS, X2, X1); \
	HALF(i*4+8, SCHED, X12, X11)

#define FOURNEXT(i) HALF(i*4, SCHED, X11, X12); HALF(i*4+8, SCHED, X12, X11)

// func labelsSHANI(j *job)
TEXT ·labelsSHANI(SB), NOSPLIT, $0-8
	MOVQ j+0(FP), AX
	MOVQ job_distinct(AX), COUNT
	LOAD
	VZEROUPPER

	// The header of the first node.
	MOVQ NODE, AX
	HEAD(0)
	MOVQ COUNT, END
	SHLQ $8, END
	ADDQ S, END
	LEAQ 256(END), SCHED
	LEAQ scratch_id(S), AX
	LEAQ scratch_head(S), CX
	SCHEDULE1
	VMOVDQU abef<>(SB), X11
	VMOVDQU cdgh<>(SB), X12
	SIXTYFOUR(FOURNEXT)
	VPADDD abef<>(SB), X11, X11
	VPADDD cdgh<>(SB), X12, X12

node:
	PAIRS(5, addressed)
	LEAQ 1(NODE), AX
	HEAD(0)
	VMOVDQA X11, X1
	VMOVDQA X12, X2
	MOVQ S, ROUNDS
	MOVQ S, SCHED
	LEAQ scratch_pairs(S), PAIR
	MOVQ (PAIR), AX
	MOVQ 8(PAIR), CX
	SCHEDULE1
	MOVQ COUNT, R15
	INCQ R15

fresh:
	ADDQ $256, SCHED
	ADDQ $16, PAIR
	MOVQ (PAIR), AX
	MOVQ 8(PAIR), CX
	KEEP1
	SIXTYFOUR(FOUR)
	SCHEDULE1
	ADD1
	ADDQ $256, ROUNDS
	CMPQ ROUNDS, END
	CMOVQEQ S, ROUNDS
	DECQ R15
	JNZ fresh

	KEEP1
	VMOVDQU abef<>(SB), X11
	VMOVDQU cdgh<>(SB), X12
	SIXTYFOUR(FOURHEAD)
	ADD1
	VPADDD abef<>(SB), X11, X11
	VPADDD cdgh<>(SB), X12, X12
	ADDQ $256, ROUNDS
	MOVQ $(const_parentBlocks-1), R15
	SUBQ COUNT, R15

again:
	CMPQ ROUNDS, END
	CMOVQEQ S, ROUNDS
	CMPQ R15, $1
	CMOVQEQ END, ROUNDS
	KEEP1
	SIXTYFOUR(FOUR)
	ADD1
	ADDQ $256, ROUNDS
	DECQ R15
	JNZ again

	MOVQ scratch_out(S), AX
	STORE(0, X1, X2, X5, X6)
	ADDQ $32, scratch_out(S)
	INCQ NODE
	ADDQ $(const_Degree*4), PARENTS
	DECQ LEFT
	JNZ node
	VZEROUPPER
	RET

// Two sectors in step. Labels of one node lie side by side, so that the address
// of the second sector's is 32 bytes further everywhere. Schedules of the next
// block are woven into the rounds of this one.

#define PAIR4(i) \
	HALF(i*4, ROUNDS, X1, X2); \
	HALF(i*4+256, ROUNDS, X3, X4); \
	HALF(i*4+8, ROUNDS, X2, X1); \
	HALF(i*4+8+256, ROUNDS, X4, X3)

// WEAVE is four rounds and the next four words of both sectors.
#define WEAVE(r, i, a, b, c, d, e, f, g, h) \
	r(i); \
	NEXT(i, 0, a, b, c, d, X9); \
	NEXT(i, 256, e, f, g, h, X14)

#define NONE(i)

#define SCHEDULE2(r) \
	r(0); \
	FIRST(0, AX, 0, 0, X5, X9); \
	FIRST(0, AX, 32, 256, X10, X14); \
	r(4); \
	FIRST(4, AX, 16, 0, X6, X9); \
	FIRST(4, AX, 48, 256, X11, X14); \
	r(8); \
	FIRST(8, CX, 0, 0, X7, X9); \
	FIRST(8, CX, 32, 256, X12, X14); \
	r(12); \
	FIRST(12, CX, 16, 0, X8, X9); \
	FIRST(12, CX, 48, 256, X13, X14); \
	WEAVE(r, 16, X5, X6, X7, X8, X10, X11, X12, X13); \
	WEAVE(r, 20, X6, X7, X8, X5, X11, X12, X13, X10); \
	WEAVE(r, 24, X7, X8, X5, X6, X12, X13, X10, X11); \
	WEAVE(r, 28, X8, X5, X6, X7, X13, X10, X11, X12); \
	WEAVE(r, 32, X5, X6, X7, X8, X10, X11, X12, X13); \
	WEAVE(r, 36, X6, X7, X8, X5, X11, X12, X13, X10); \
	WEAVE(r, 40, X7, X8, X5, X6, X12, X13, X10, X11); \
	WEAVE(r, 44, X8, X5, X6, X7, X13, X10, X11, X12); \
	WEAVE(r, 48, X5, X6, X7, X8, X10, X11, X12, X13); \
	WEAVE(r, 52, X6, X7, X8, X5, X11, X12, X13, X10); \
	WEAVE(r, 56, X7, X8, X5, X6, X12, X13, X10, X11); \
	WEAVE(r, 60, X8, X5, X6, X7, X13, X10, X11, X12)

#define KEEP2 \
	VMOVDQU X1, scratch_save(S); \
	VMOVDQU X2, scratch_save+16(S); \
	VMOVDQU X3, scratch_save+32(S); \
	VMOVDQU X4, scratch_save+48(S)

#define ADD2 \
	VPADDD scratch_save(S), X1, X1; \
	VPADDD scratch_save+16(S), X2, X2; \
	VPADDD scratch_save+32(S), X3, X3; \
	VPADDD scratch_save+48(S), X4, X4

// func pairsSHANI(j *job)
TEXT ·pairsSHANI(SB), NOSPLIT, $0-8
	MOVQ j+0(FP), AX
	MOVQ job_distinct(AX), COUNT
	LOAD
	VZEROUPPER

	// The header of the first node. SCHED stays at its slot between nodes.
	MOVQ NODE, AX
	HEAD(0)
	MOVQ NODE, AX
	HEAD(32)
	MOVQ COUNT, END
	SHLQ $9, END
	ADDQ S, END
	LEAQ 512(END), SCHED
	LEAQ scratch_id(S), AX
	LEAQ scratch_head(S), CX
	SCHEDULE2(NONE)

node:
	PAIRS(6, addressed)
	LEAQ 1(NODE), AX
	HEAD(0)
	LEAQ 1(NODE), AX
	HEAD(32)
	VMOVDQU abef<>(SB), X1
	VMOVDQU cdgh<>(SB), X2
	VMOVDQA X1, X3
	VMOVDQA X2, X4
	MOVQ SCHED, ROUNDS
	MOVQ S, SCHED
	LEAQ scratch_pairs(S), PAIR
	LEAQ 2(COUNT), R15

fresh:
	MOVQ (PAIR), AX
	MOVQ 8(PAIR), CX
	KEEP2
	SCHEDULE2(PAIR4)
	ADD2
	MOVQ SCHED, ROUNDS
	ADDQ $512, SCHED
	ADDQ $16, PAIR
	CMPQ ROUNDS, END
	CMOVQEQ S, ROUNDS
	DECQ R15
	JNZ fresh

	// SCHED is behind the slot of the header by now, ROUNDS at it.
	SUBQ $512, SCHED
	LEAQ 512(S), ROUNDS
	MOVQ $const_parentBlocks, R15
	SUBQ COUNT, R15

again:
	CMPQ ROUNDS, END
	CMOVQEQ S, ROUNDS
	CMPQ R15, $1
	CMOVQEQ END, ROUNDS
	KEEP2
	SIXTYFOUR(PAIR4)
	ADD2
	ADDQ $512, ROUNDS
	DECQ R15
	JNZ again

	MOVQ scratch_out(S), AX
	STORE(0, X1, X2, X5, X6)
	STORE(32, X3, X4, X7, X8)
	ADDQ $64, scratch_out(S)
	INCQ NODE
	ADDQ $(const_Degree*4), PARENTS
	DECQ LEFT
	JNZ node
	VZEROUPPER
	RET
