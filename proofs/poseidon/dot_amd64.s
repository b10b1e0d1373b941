//go:build !purego

#include "textflag.h"

// ROW adds DX*b to the five words t0 … t4, of which t4 starts as zero.
#define ROW(t0, t1, t2, t3, t4) \
	XORQ  t4, t4         \ // clears both carries
	MULXQ 0(DI), AX, BX  \
	ADCXQ AX, t0         \
	ADOXQ BX, t1         \
	MULXQ 8(DI), AX, BX  \
	ADCXQ AX, t1         \
	ADOXQ BX, t2         \
	MULXQ 16(DI), AX, BX \
	ADCXQ AX, t2         \
	ADOXQ BX, t3         \
	MULXQ 24(DI), AX, BX \
	ADCXQ AX, t3         \
	ADOXQ BX, t4         \
	ADCQ  $0, t4

// func sumADX(c *[9]uint64, a, b *fr.Element, n int)
// Adds the unreduced products of n > 0 pairs to c. Needs BMI2 and ADX.
TEXT ·sumADX(SB), NOSPLIT, $8-32
	MOVQ c+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DI
	MOVQ n+24(FP), AX
	SHLQ $5, AX
	ADDQ SI, AX
	MOVQ AX, end-8(SP)

loop:
	MOVQ  0(SI), DX
	MULXQ 0(DI), R8, R9
	MULXQ 8(DI), AX, R10
	ADDQ  AX, R9
	MULXQ 16(DI), AX, R11
	ADCQ  AX, R10
	MULXQ 24(DI), AX, R12
	ADCQ  AX, R11
	ADCQ  $0, R12
	MOVQ  8(SI), DX
	ROW(R9, R10, R11, R12, R13)
	MOVQ  16(SI), DX
	ROW(R10, R11, R12, R13, R14)
	MOVQ  24(SI), DX
	ROW(R11, R12, R13, R14, R15)
	ADDQ  R8, 0(CX)
	ADCQ  R9, 8(CX)
	ADCQ  R10, 16(CX)
	ADCQ  R11, 24(CX)
	ADCQ  R12, 32(CX)
	ADCQ  R13, 40(CX)
	ADCQ  R14, 48(CX)
	ADCQ  R15, 56(CX)
	ADCQ  $0, 64(CX)
	ADDQ  $32, SI
	ADDQ  $32, DI
	CMPQ  SI, end-8(SP)
	JB    loop
	RET
