//go:build !purego

#include "kernel_amd64.h"

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
DATA ·shaFlip+0x00(SB)/8, $0x0405060700010203
DATA ·shaFlip+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL ·shaFlip(SB), RODATA|NOPTR, $16

// Clears the two highest bits of the last byte of a label.
DATA ·shaTrim+0x00(SB)/8, $0xffffffffffffffff
DATA ·shaTrim+0x08(SB)/8, $0x3fffffffffffffff
GLOBL ·shaTrim(SB), RODATA|NOPTR, $16

// Initial hash value, as the instructions want it: F E B A and H G D C.
DATA ·shaABEF+0x00(SB)/8, $0x510e527f9b05688c
DATA ·shaABEF+0x08(SB)/8, $0x6a09e667bb67ae85
GLOBL ·shaABEF(SB), RODATA|NOPTR, $16
DATA ·shaCDGH+0x00(SB)/8, $0x1f83d9ab5be0cd19
DATA ·shaCDGH+0x08(SB)/8, $0x3c6ef372a54ff53a
GLOBL ·shaCDGH(SB), RODATA|NOPTR, $16

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
	VMOVDQU ·shaABEF(SB), X11
	VMOVDQU ·shaCDGH(SB), X12
	SIXTYFOUR(FOURNEXT)
	VPADDD ·shaABEF(SB), X11, X11
	VPADDD ·shaCDGH(SB), X12, X12

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
	VMOVDQU ·shaABEF(SB), X11
	VMOVDQU ·shaCDGH(SB), X12
	SIXTYFOUR(FOURHEAD)
	ADD1
	VPADDD ·shaABEF(SB), X11, X11
	VPADDD ·shaCDGH(SB), X12, X12
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
