//go:build !purego

#include "textflag.h"

// SHA-256 of 64-byte messages, two at a time. A state is two registers, one
// with the words A, B, E, F and one with C, D, G, H, highest first, as the SHA
// instructions want it. X0 is their implicit operand, X13 is scratch, X14 turns
// the bytes of words round.

DATA ·startABEF+0(SB)/8, $0x510e527f9b05688c
DATA ·startABEF+8(SB)/8, $0x6a09e667bb67ae85
GLOBL ·startABEF(SB), RODATA|NOPTR, $16

DATA ·startCDGH+0(SB)/8, $0x1f83d9ab5be0cd19
DATA ·startCDGH+8(SB)/8, $0x3c6ef372a54ff53a
GLOBL ·startCDGH(SB), RODATA|NOPTR, $16

DATA ·turnWords+0(SB)/8, $0x0405060700010203
DATA ·turnWords+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL ·turnWords(SB), RODATA|NOPTR, $16

// The last byte of a digest loses its two top bits.
DATA ·nodeMask+0(SB)/8, $0xffffffffffffffff
DATA ·nodeMask+8(SB)/8, $0x3fffffffffffffff
GLOBL ·nodeMask(SB), RODATA|NOPTR, $16

#define READ(p, m0, m1, m2, m3) \
	MOVOU  0(p), m0  \
	MOVOU  16(p), m1 \
	MOVOU  32(p), m2 \
	MOVOU  48(p), m3 \
	PSHUFB X14, m0   \
	PSHUFB X14, m1   \
	PSHUFB X14, m2   \
	PSHUFB X14, m3

// ROUNDS does four rounds with the words m and the constants at k(AX).
#define ROUNDS(k, s0, s1, m) \
	VPADDD      k(AX), m, X0 \
	SHA256RNDS2 X0, s0, s1   \
	PSHUFD      $0x0e, X0, X0 \
	SHA256RNDS2 X0, s1, s0

// NEXT makes next, which has had MSG1, the four words after m; prev are the
// words before m.
#define NEXT(m, prev, next) \
	VPALIGNR   $4, prev, m, X13 \
	PADDD      X13, next        \
	SHA256MSG2 m, next

// FULL is four rounds and the schedule, for both messages.
#define FULL(k, a, aprev, anext, b, bprev, bnext) \
	ROUNDS(k, X1, X2, a)    \
	NEXT(a, aprev, anext)   \
	SHA256MSG1 a, aprev     \
	ROUNDS(k, X7, X8, b)    \
	NEXT(b, bprev, bnext)   \
	SHA256MSG1 b, bprev

// FINAL is four rounds of the second block, whose words are the same for every
// message and already in the constants.
#define FINAL(k) \
	MOVOU       k(BX), X0     \
	PSHUFD      $0x0e, X0, X15 \
	SHA256RNDS2 X0, X1, X2    \
	SHA256RNDS2 X0, X7, X8    \
	MOVO        X15, X0       \
	SHA256RNDS2 X0, X2, X1    \
	SHA256RNDS2 X0, X8, X7

#define WRITE(s0, s1, off) \
	PSHUFD  $0x1b, s0, s0     \
	PSHUFD  $0xb1, s1, s1     \
	MOVO    s0, X13           \
	PBLENDW $0xf0, s1, s0     \
	PALIGNR $8, X13, s1       \
	PSHUFB  X14, s0           \
	PSHUFB  X14, s1           \
	VPAND   ·nodeMask(SB), s1, s1 \
	MOVOU   s0, off+0(DI)     \
	MOVOU   s1, off+16(DI)

// func pairsSHA(dst, src *byte, n int, k, final *[64]uint32)
// Hashes 2*n > 0 messages of 64 bytes each. dst may be src. Needs SHA and AVX.
TEXT ·pairsSHA(SB), NOSPLIT, $0-40
	MOVQ  dst+0(FP), DI
	MOVQ  src+8(FP), SI
	MOVQ  n+16(FP), CX
	MOVQ  k+24(FP), AX
	MOVQ  final+32(FP), BX
	LEAQ  64(SI), DX
	MOVOU ·turnWords(SB), X14

two:
	MOVOU ·startABEF(SB), X1
	MOVOU ·startCDGH(SB), X2
	MOVO  X1, X7
	MOVO  X2, X8
	READ(SI, X3, X4, X5, X6)
	READ(DX, X9, X10, X11, X12)

	ROUNDS(0, X1, X2, X3)
	ROUNDS(0, X7, X8, X9)
	ROUNDS(16, X1, X2, X4)
	SHA256MSG1 X4, X3
	ROUNDS(16, X7, X8, X10)
	SHA256MSG1 X10, X9
	ROUNDS(32, X1, X2, X5)
	SHA256MSG1 X5, X4
	ROUNDS(32, X7, X8, X11)
	SHA256MSG1 X11, X10
	FULL(48, X6, X5, X3, X12, X11, X9)
	FULL(64, X3, X6, X4, X9, X12, X10)
	FULL(80, X4, X3, X5, X10, X9, X11)
	FULL(96, X5, X4, X6, X11, X10, X12)
	FULL(112, X6, X5, X3, X12, X11, X9)
	FULL(128, X3, X6, X4, X9, X12, X10)
	FULL(144, X4, X3, X5, X10, X9, X11)
	FULL(160, X5, X4, X6, X11, X10, X12)
	FULL(176, X6, X5, X3, X12, X11, X9)
	FULL(192, X3, X6, X4, X9, X12, X10)
	ROUNDS(208, X1, X2, X4)
	NEXT(X4, X3, X5)
	ROUNDS(208, X7, X8, X10)
	NEXT(X10, X9, X11)
	ROUNDS(224, X1, X2, X5)
	NEXT(X5, X4, X6)
	ROUNDS(224, X7, X8, X11)
	NEXT(X11, X10, X12)
	ROUNDS(240, X1, X2, X6)
	ROUNDS(240, X7, X8, X12)

	VPADDD ·startABEF(SB), X1, X1
	VPADDD ·startCDGH(SB), X2, X2
	VPADDD ·startABEF(SB), X7, X7
	VPADDD ·startCDGH(SB), X8, X8
	MOVO   X1, X3
	MOVO   X2, X4
	MOVO   X7, X9
	MOVO   X8, X10

	FINAL(0)
	FINAL(16)
	FINAL(32)
	FINAL(48)
	FINAL(64)
	FINAL(80)
	FINAL(96)
	FINAL(112)
	FINAL(128)
	FINAL(144)
	FINAL(160)
	FINAL(176)
	FINAL(192)
	FINAL(208)
	FINAL(224)
	FINAL(240)

	PADDD X3, X1
	PADDD X4, X2
	PADDD X9, X7
	PADDD X10, X8
	WRITE(X1, X2, 0)
	WRITE(X7, X8, 32)

	ADDQ $128, SI
	ADDQ $128, DX
	ADDQ $64, DI
	DECQ CX
	JNZ  two
	RET

// func leaf7() (ebx uint32)
// EBX of CPUID leaf 7, or 0 where there is no such leaf.
TEXT ·leaf7(SB), NOSPLIT, $0-4
	XORL AX, AX
	XORL CX, CX
	CPUID
	CMPL AX, $7
	JB   none
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL BX, ebx+0(FP)
	RET

none:
	MOVL $0, ebx+0(FP)
	RET
