//go:build !purego

#include "textflag.h"

// Eight lanes per register, five limbs of 52 bits per number, low limb first.
// Registers throughout:
//	Z0 … Z9    columns of a product, each far below 2^64
//	Z10 … Z14  limbs of r
//	Z15        -1/r mod 2^52
//	Z16        2^52-1
//	Z17, Z18   scratch of the reduction
// Numbers are below 2^260 with limbs below 2^52; the products that are reduced
// are below 2^260*r times a small factor, so that r need never be subtracted
// (see lanesFit).

DATA ·ifmaConst+0(SB)/8, $0xfffff00000001
DATA ·ifmaConst+8(SB)/8, $0x2fffe5bfefff
DATA ·ifmaConst+16(SB)/8, $0x9a1d80553bda4
DATA ·ifmaConst+24(SB)/8, $0x7d483339d8080
DATA ·ifmaConst+32(SB)/8, $0x73eda753299d
DATA ·ifmaConst+40(SB)/8, $0xffffeffffffff
DATA ·ifmaConst+48(SB)/8, $0xfffffffffffff
GLOBL ·ifmaConst(SB), RODATA|NOPTR, $56

#define CONSTANTS \
	VPBROADCASTQ ·ifmaConst+0(SB), Z10  \
	VPBROADCASTQ ·ifmaConst+8(SB), Z11  \
	VPBROADCASTQ ·ifmaConst+16(SB), Z12 \
	VPBROADCASTQ ·ifmaConst+24(SB), Z13 \
	VPBROADCASTQ ·ifmaConst+32(SB), Z14 \
	VPBROADCASTQ ·ifmaConst+40(SB), Z15 \
	VPBROADCASTQ ·ifmaConst+48(SB), Z16

#define ZERO_LOW \
	VPXORQ Z0, Z0, Z0 \
	VPXORQ Z1, Z1, Z1 \
	VPXORQ Z2, Z2, Z2 \
	VPXORQ Z3, Z3, Z3 \
	VPXORQ Z4, Z4, Z4

#define ZERO_HIGH \
	VPXORQ Z5, Z5, Z5 \
	VPXORQ Z6, Z6, Z6 \
	VPXORQ Z7, Z7, Z7 \
	VPXORQ Z8, Z8, Z8 \
	VPXORQ Z9, Z9, Z9

// LIMB adds b times the number a to six columns. No column comes twice within
// the four cycles a multiplication takes.
#define LIMB(b, a0, a1, a2, a3, a4, c0, c1, c2, c3, c4, c5) \
	VPMADD52LUQ a0, b, c0 \
	VPMADD52LUQ a1, b, c1 \
	VPMADD52LUQ a2, b, c2 \
	VPMADD52LUQ a3, b, c3 \
	VPMADD52LUQ a4, b, c4 \
	VPMADD52HUQ a0, b, c1 \
	VPMADD52HUQ a1, b, c2 \
	VPMADD52HUQ a2, b, c3 \
	VPMADD52HUQ a3, b, c4 \
	VPMADD52HUQ a4, b, c5

// CANCEL adds a multiple of r that clears column c0, and carries it into c1.
#define CANCEL(c0, c1, c2, c3, c4, c5) \
	VPXORQ      Z17, Z17, Z17 \
	VPMADD52LUQ c0, Z15, Z17  \
	VPMADD52LUQ Z17, Z10, c0  \
	VPMADD52HUQ Z17, Z10, c1  \
	VPMADD52LUQ Z17, Z12, c2  \
	VPMADD52LUQ Z17, Z13, c3  \
	VPMADD52LUQ Z17, Z14, c4  \
	VPMADD52LUQ Z17, Z11, c1  \
	VPMADD52HUQ Z17, Z11, c2  \
	VPMADD52HUQ Z17, Z12, c3  \
	VPMADD52HUQ Z17, Z13, c4  \
	VPMADD52HUQ Z17, Z14, c5  \
	VPSRLQ      $52, c0, Z18  \
	VPADDQ      Z18, c1, c1

#define CARRY(c0, c1) \
	VPSRLQ $52, c0, Z18 \
	VPANDQ Z16, c0, c0  \
	VPADDQ Z18, c1, c1

// REDUCE leaves the product divided by 2^260 in Z5 … Z9.
#define REDUCE \
	CANCEL(Z0, Z1, Z2, Z3, Z4, Z5) \
	CANCEL(Z1, Z2, Z3, Z4, Z5, Z6) \
	CANCEL(Z2, Z3, Z4, Z5, Z6, Z7) \
	CANCEL(Z3, Z4, Z5, Z6, Z7, Z8) \
	CANCEL(Z4, Z5, Z6, Z7, Z8, Z9) \
	CARRY(Z5, Z6)                  \
	CARRY(Z6, Z7)                  \
	CARRY(Z7, Z8)                  \
	CARRY(Z8, Z9)

// DOT adds to the columns the sum of CX numbers at SI, 640 bytes apart, each
// times the constant of five words at DX. It destroys its pointers.
#define TERM \
	VMOVDQU64    0(SI), Z19   \
	VMOVDQU64    64(SI), Z20  \
	VMOVDQU64    128(SI), Z21 \
	VMOVDQU64    192(SI), Z22 \
	VMOVDQU64    256(SI), Z23 \
	VPBROADCASTQ 0(DX), Z24   \
	VPBROADCASTQ 8(DX), Z25   \
	VPBROADCASTQ 16(DX), Z26  \
	VPBROADCASTQ 24(DX), Z27  \
	VPBROADCASTQ 32(DX), Z28  \
	LIMB(Z24, Z19, Z20, Z21, Z22, Z23, Z0, Z1, Z2, Z3, Z4, Z5) \
	LIMB(Z25, Z19, Z20, Z21, Z22, Z23, Z1, Z2, Z3, Z4, Z5, Z6) \
	LIMB(Z26, Z19, Z20, Z21, Z22, Z23, Z2, Z3, Z4, Z5, Z6, Z7) \
	LIMB(Z27, Z19, Z20, Z21, Z22, Z23, Z3, Z4, Z5, Z6, Z7, Z8) \
	LIMB(Z28, Z19, Z20, Z21, Z22, Z23, Z4, Z5, Z6, Z7, Z8, Z9) \
	ADDQ         $640, SI     \
	ADDQ         $40, DX

#define STORE(p) \
	VMOVDQU64 Z5, 0(p)   \
	VMOVDQU64 Z6, 64(p)  \
	VMOVDQU64 Z7, 128(p) \
	VMOVDQU64 Z8, 192(p) \
	VMOVDQU64 Z9, 256(p)

// func dotLanes(dst, plus, src *wide, k *wideConst, n, halves int)
// Per lane: dst = plus + sum of src[i]*k[i], n > 0; plus may be nil and may be
// dst. halves is 1 for the first eight lanes only, or 2.
TEXT ·dotLanes(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ plus+8(FP), R8
	MOVQ src+16(FP), R9
	MOVQ k+24(FP), R10
	MOVQ n+32(FP), R11
	CONSTANTS
	MOVQ halves+40(FP), BX

half:
	MOVQ      R9, SI
	MOVQ      R10, DX
	MOVQ      R11, CX
	ZERO_LOW
	TESTQ     R8, R8
	JZ        none
	VMOVDQU64 0(R8), Z5
	VMOVDQU64 64(R8), Z6
	VMOVDQU64 128(R8), Z7
	VMOVDQU64 192(R8), Z8
	VMOVDQU64 256(R8), Z9
	ADDQ      $320, R8
	JMP       term

none:
	ZERO_HIGH

term:
	TERM
	DECQ CX
	JNZ  term
	REDUCE
	STORE(DI)
	ADDQ $320, DI
	ADDQ $320, R9
	DECQ BX
	JNZ  half
	VZEROUPPER
	RET

// SQUARE multiplies a number with itself: the ten mixed products once, doubled,
// then the five squares.
#define SQUARE(a0, a1, a2, a3, a4) \
	ZERO_LOW                \
	ZERO_HIGH               \
	VPMADD52LUQ a0, a1, Z1  \
	VPMADD52LUQ a0, a2, Z2  \
	VPMADD52LUQ a0, a3, Z3  \
	VPMADD52LUQ a0, a4, Z4  \
	VPMADD52HUQ a0, a4, Z5  \
	VPMADD52HUQ a0, a1, Z2  \
	VPMADD52HUQ a0, a2, Z3  \
	VPMADD52HUQ a0, a3, Z4  \
	VPMADD52LUQ a1, a4, Z5  \
	VPMADD52HUQ a1, a4, Z6  \
	VPMADD52LUQ a1, a2, Z3  \
	VPMADD52LUQ a1, a3, Z4  \
	VPMADD52HUQ a1, a3, Z5  \
	VPMADD52LUQ a2, a4, Z6  \
	VPMADD52HUQ a2, a4, Z7  \
	VPMADD52HUQ a1, a2, Z4  \
	VPMADD52LUQ a2, a3, Z5  \
	VPMADD52HUQ a2, a3, Z6  \
	VPMADD52LUQ a3, a4, Z7  \
	VPMADD52HUQ a3, a4, Z8  \
	VPADDQ      Z1, Z1, Z1  \
	VPADDQ      Z2, Z2, Z2  \
	VPADDQ      Z3, Z3, Z3  \
	VPADDQ      Z4, Z4, Z4  \
	VPADDQ      Z5, Z5, Z5  \
	VPADDQ      Z6, Z6, Z6  \
	VPADDQ      Z7, Z7, Z7  \
	VPADDQ      Z8, Z8, Z8  \
	VPMADD52LUQ a0, a0, Z0  \
	VPMADD52HUQ a0, a0, Z1  \
	VPMADD52LUQ a1, a1, Z2  \
	VPMADD52HUQ a1, a1, Z3  \
	VPMADD52LUQ a2, a2, Z4  \
	VPMADD52HUQ a2, a2, Z5  \
	VPMADD52LUQ a3, a3, Z6  \
	VPMADD52HUQ a3, a3, Z7  \
	VPMADD52LUQ a4, a4, Z8  \
	VPMADD52HUQ a4, a4, Z9

#define TAKE(a0, a1, a2, a3, a4) \
	VMOVDQA64 Z5, a0 \
	VMOVDQA64 Z6, a1 \
	VMOVDQA64 Z7, a2 \
	VMOVDQA64 Z8, a3 \
	VMOVDQA64 Z9, a4

#define LOAD(off, a0, a1, a2, a3, a4) \
	VMOVDQU64 off+0(DI), a0   \
	VMOVDQU64 off+64(DI), a1  \
	VMOVDQU64 off+128(DI), a2 \
	VMOVDQU64 off+192(DI), a3 \
	VMOVDQU64 off+256(DI), a4

// TIMES multiplies the number in registers by the one at off(DI), adds the
// constant at DX and stores the result at off(DI).
#define TIMES(off, a0, a1, a2, a3, a4) \
	ZERO_LOW                   \
	VPBROADCASTQ 0(DX), Z5     \
	VPBROADCASTQ 8(DX), Z6     \
	VPBROADCASTQ 16(DX), Z7    \
	VPBROADCASTQ 24(DX), Z8    \
	VPBROADCASTQ 32(DX), Z9    \
	VMOVDQU64 off+0(DI), Z29   \
	LIMB(Z29, a0, a1, a2, a3, a4, Z0, Z1, Z2, Z3, Z4, Z5) \
	VMOVDQU64 off+64(DI), Z30  \
	LIMB(Z30, a0, a1, a2, a3, a4, Z1, Z2, Z3, Z4, Z5, Z6) \
	VMOVDQU64 off+128(DI), Z29 \
	LIMB(Z29, a0, a1, a2, a3, a4, Z2, Z3, Z4, Z5, Z6, Z7) \
	VMOVDQU64 off+192(DI), Z30 \
	LIMB(Z30, a0, a1, a2, a3, a4, Z3, Z4, Z5, Z6, Z7, Z8) \
	VMOVDQU64 off+256(DI), Z29 \
	LIMB(Z29, a0, a1, a2, a3, a4, Z4, Z5, Z6, Z7, Z8, Z9) \
	REDUCE                     \
	VMOVDQU64 Z5, off+0(DI)    \
	VMOVDQU64 Z6, off+64(DI)   \
	VMOVDQU64 Z7, off+128(DI)  \
	VMOVDQU64 Z8, off+192(DI)  \
	VMOVDQU64 Z9, off+256(DI)

// func fifthLanes(x *wide, k *wideConst, n int)
// Per lane: x[i] = x[i]^5 + k[i] for n > 0 numbers. The two halves of the lanes
// take turns, because each is a chain of dependent multiplications.
TEXT ·fifthLanes(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), DI
	MOVQ k+8(FP), DX
	MOVQ n+16(FP), CX
	CONSTANTS

number:
	LOAD(0, Z19, Z20, Z21, Z22, Z23)
	LOAD(320, Z24, Z25, Z26, Z27, Z28)
	SQUARE(Z19, Z20, Z21, Z22, Z23)
	REDUCE
	TAKE(Z19, Z20, Z21, Z22, Z23)
	SQUARE(Z24, Z25, Z26, Z27, Z28)
	REDUCE
	TAKE(Z24, Z25, Z26, Z27, Z28)
	SQUARE(Z19, Z20, Z21, Z22, Z23)
	REDUCE
	TAKE(Z19, Z20, Z21, Z22, Z23)
	SQUARE(Z24, Z25, Z26, Z27, Z28)
	REDUCE
	TAKE(Z24, Z25, Z26, Z27, Z28)
	TIMES(0, Z19, Z20, Z21, Z22, Z23)
	TIMES(320, Z24, Z25, Z26, Z27, Z28)
	ADDQ $640, DI
	ADDQ $40, DX
	DECQ CX
	JNZ  number
	VZEROUPPER
	RET
