//go:build !purego

#include "kernel_amd64.h"

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
	VMOVDQU ·shaABEF(SB), X1
	VMOVDQU ·shaCDGH(SB), X2
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
