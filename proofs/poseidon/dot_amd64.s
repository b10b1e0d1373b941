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

// CANCEL adds the multiple of r to t0 … t4 that clears t0. SI is the carry into
// t4 from the step before, and out of it to the next.
#define CANCEL(t0, t1, t2, t3, t4) \
	MOVQ  t0, DX                 \
	IMULQ CX, DX                 \
	XORQ  AX, AX                 \ // clears both carries
	MULXQ ·order+0(SB), AX, BX   \
	ADCXQ AX, t0                 \
	ADOXQ BX, t1                 \
	MULXQ ·order+8(SB), AX, BX   \
	ADCXQ AX, t1                 \
	ADOXQ BX, t2                 \
	MULXQ ·order+16(SB), AX, BX  \
	ADCXQ AX, t2                 \
	ADOXQ BX, t3                 \
	MULXQ ·order+24(SB), AX, BX  \
	ADCXQ AX, t3                 \
	MOVQ  $0, AX                 \
	ADOXQ AX, BX                 \ // r is below 2^255: none of these overflows
	ADCXQ AX, BX                 \
	ADDQ  SI, BX                 \
	XORL  SI, SI                 \
	ADDQ  BX, t4                 \
	ADCQ  $0, SI

// func dotADX(dst, a, b *fr.Element, n int)
// The reduced sum of 0 < n <= maxTerms products. Needs BMI2 and ADX.
TEXT ·dotADX(SB), NOSPLIT, $80-32
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DI
	MOVQ n+24(FP), AX
	SHLQ $5, AX
	ADDQ SI, AX
	MOVQ AX, end-8(SP)
	LEAQ sum-80(SP), CX
	XORL AX, AX
	MOVQ AX, 0(CX)
	MOVQ AX, 8(CX)
	MOVQ AX, 16(CX)
	MOVQ AX, 24(CX)
	MOVQ AX, 32(CX)
	MOVQ AX, 40(CX)
	MOVQ AX, 48(CX)
	MOVQ AX, 56(CX)
	MOVQ AX, 64(CX)

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
	ADDQ  $32, SI
	ADDQ  $32, DI
	ADDQ  0(CX), R8
	ADCQ  8(CX), R9
	ADCQ  16(CX), R10
	ADCQ  24(CX), R11
	ADCQ  32(CX), R12
	ADCQ  40(CX), R13
	ADCQ  48(CX), R14
	ADCQ  56(CX), R15
	ADCQ  $0, 64(CX)
	CMPQ  SI, end-8(SP)
	JAE   reduce
	MOVQ  R8, 0(CX)
	MOVQ  R9, 8(CX)
	MOVQ  R10, 16(CX)
	MOVQ  R11, 24(CX)
	MOVQ  R12, 32(CX)
	MOVQ  R13, 40(CX)
	MOVQ  R14, 48(CX)
	MOVQ  R15, 56(CX)
	JMP   loop

reduce:
	MOVQ 64(CX), DI
	MOVQ $0xfffffffeffffffff, CX // -1/r mod 2^64
	XORL SI, SI
	CANCEL(R8, R9, R10, R11, R12)
	CANCEL(R9, R10, R11, R12, R13)
	CANCEL(R10, R11, R12, R13, R14)
	CANCEL(R11, R12, R13, R14, R15)
	ADDQ DI, SI

	// As settle does.
	MOVQ    R15, AX
	SHRQ    $56, AX
	SHLQ    $8, SI
	ORQ     SI, AX
	IMULQ   $565, AX
	SHRQ    $16, AX
	SHLQ    $5, AX
	LEAQ    ·multiples(SB), BX
	ADDQ    AX, BX
	SUBQ    0(BX), R12
	SBBQ    8(BX), R13
	SBBQ    16(BX), R14
	SBBQ    24(BX), R15
	MOVQ    R12, R8
	MOVQ    R13, R9
	MOVQ    R14, R10
	MOVQ    R15, R11
	SUBQ    ·order+0(SB), R8
	SBBQ    ·order+8(SB), R9
	SBBQ    ·order+16(SB), R10
	SBBQ    ·order+24(SB), R11
	CMOVQCC R8, R12
	CMOVQCC R9, R13
	CMOVQCC R10, R14
	CMOVQCC R11, R15
	MOVQ    dst+0(FP), DI
	MOVQ    R12, 0(DI)
	MOVQ    R13, 8(DI)
	MOVQ    R14, 16(DI)
	MOVQ    R15, 24(DI)
	RET
