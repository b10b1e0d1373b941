//go:build !purego

#include "textflag.h"

// The Feistel permutation of the expansion parents, eight values at once with
// AVX-512. Its round function is BLAKE2b-512 (RFC 7693) of 16 bytes, so only the
// first two of the sixteen message words are not zero, and only the first word
// of the digest is wanted. Z0 to Z15 are the work vector, Z16 and Z17 the
// message words.

// Byte order of 64-bit words.
DATA swap64<>+0x00(SB)/8, $0x0001020304050607
DATA swap64<>+0x08(SB)/8, $0x08090a0b0c0d0e0f
GLOBL swap64<>(SB), RODATA|NOPTR, $16

// Work vector before the first round: the chaining value of an unkeyed hash of
// 64 bytes, the initialization vector with the length 16 and the mark of the
// last block.
DATA work<>+0x00(SB)/8, $0x6a09e667f2bdc948
DATA work<>+0x08(SB)/8, $0xbb67ae8584caa73b
DATA work<>+0x10(SB)/8, $0x3c6ef372fe94f82b
DATA work<>+0x18(SB)/8, $0xa54ff53a5f1d36f1
DATA work<>+0x20(SB)/8, $0x510e527fade682d1
DATA work<>+0x28(SB)/8, $0x9b05688c2b3e6c1f
DATA work<>+0x30(SB)/8, $0x1f83d9abfb41bd6b
DATA work<>+0x38(SB)/8, $0x5be0cd19137e2179
DATA work<>+0x40(SB)/8, $0x6a09e667f3bcc908
DATA work<>+0x48(SB)/8, $0xbb67ae8584caa73b
DATA work<>+0x50(SB)/8, $0x3c6ef372fe94f82b
DATA work<>+0x58(SB)/8, $0xa54ff53a5f1d36f1
DATA work<>+0x60(SB)/8, $0x510e527fade682c1
DATA work<>+0x68(SB)/8, $0x9b05688c2b3e6c1f
DATA work<>+0x70(SB)/8, $0xe07c265404be4294
DATA work<>+0x78(SB)/8, $0x5be0cd19137e2179
GLOBL work<>(SB), RODATA|NOPTR, $128

// QUARTER is half of the mixing function on four columns or diagonals.
#define QUARTER(r1, r2, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
	VPADDQ e, a, a; \
	VPADDQ f, b, b; \
	VPADDQ g, c, c; \
	VPADDQ h, d, d; \
	VPXORQ a, m, m; \
	VPXORQ b, n, n; \
	VPXORQ c, o, o; \
	VPXORQ d, p, p; \
	VPRORQ $r1, m, m; \
	VPRORQ $r1, n, n; \
	VPRORQ $r1, o, o; \
	VPRORQ $r1, p, p; \
	VPADDQ m, i, i; \
	VPADDQ n, j, j; \
	VPADDQ o, k, k; \
	VPADDQ p, l, l; \
	VPXORQ i, e, e; \
	VPXORQ j, f, f; \
	VPXORQ k, g, g; \
	VPXORQ l, h, h; \
	VPRORQ $r2, e, e; \
	VPRORQ $r2, f, f; \
	VPRORQ $r2, g, g; \
	VPRORQ $r2, h, h

#define COLUMNS1 QUARTER(32, 24, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
#define COLUMNS2 QUARTER(16, 63, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
#define DIAGONALS1 QUARTER(32, 24, Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14)
#define DIAGONALS2 QUARTER(16, 63, Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14)

// func permuteAVX512(x *uint64, groups int, half uint64, keys *[3]uint64)
//
// One pass of the permutation over groups times eight values, in place. keys are
// in the byte order of the message.
TEXT ·permuteAVX512(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), DI
	MOVQ groups+8(FP), SI
	MOVQ half+16(FP), CX
	MOVQ keys+24(FP), R8
	VMOVQ CX, X22
	MOVQ $1, AX
	SHLQ CX, AX
	DECQ AX
	VPBROADCASTQ AX, Z20
	VBROADCASTI32X4 swap64<>(SB), Z21

group:
	VMOVDQU64 (DI), Z19
	VPSRLQ X22, Z19, Z18
	VPANDQ Z20, Z18, Z18 // left
	VPANDQ Z20, Z19, Z19 // right
	XORQ BX, BX

round:
	VPSHUFB Z21, Z19, Z16
	VPBROADCASTQ (R8)(BX*8), Z17
	VPBROADCASTQ work<>+0x00(SB), Z0
	VPBROADCASTQ work<>+0x08(SB), Z1
	VPBROADCASTQ work<>+0x10(SB), Z2
	VPBROADCASTQ work<>+0x18(SB), Z3
	VPBROADCASTQ work<>+0x20(SB), Z4
	VPBROADCASTQ work<>+0x28(SB), Z5
	VPBROADCASTQ work<>+0x30(SB), Z6
	VPBROADCASTQ work<>+0x38(SB), Z7
	VPBROADCASTQ work<>+0x40(SB), Z8
	VPBROADCASTQ work<>+0x48(SB), Z9
	VPBROADCASTQ work<>+0x50(SB), Z10
	VPBROADCASTQ work<>+0x58(SB), Z11
	VPBROADCASTQ work<>+0x60(SB), Z12
	VPBROADCASTQ work<>+0x68(SB), Z13
	VPBROADCASTQ work<>+0x70(SB), Z14
	VPBROADCASTQ work<>+0x78(SB), Z15
	VPADDQ Z16, Z0, Z0; COLUMNS1; VPADDQ Z17, Z0, Z0; COLUMNS2; DIAGONALS1; DIAGONALS2
	COLUMNS1; COLUMNS2; VPADDQ Z16, Z1, Z1; VPADDQ Z17, Z0, Z0; DIAGONALS1; DIAGONALS2
	COLUMNS1; VPADDQ Z16, Z1, Z1; COLUMNS2; DIAGONALS1; VPADDQ Z17, Z2, Z2; DIAGONALS2
	COLUMNS1; VPADDQ Z17, Z1, Z1; COLUMNS2; DIAGONALS1; VPADDQ Z16, Z2, Z2; DIAGONALS2
	COLUMNS1; VPADDQ Z16, Z0, Z0; COLUMNS2; DIAGONALS1; VPADDQ Z17, Z0, Z0; DIAGONALS2
	VPADDQ Z16, Z2, Z2; COLUMNS1; COLUMNS2; VPADDQ Z17, Z3, Z3; DIAGONALS1; DIAGONALS2
	VPADDQ Z17, Z1, Z1; COLUMNS1; COLUMNS2; VPADDQ Z16, Z0, Z0; DIAGONALS1; DIAGONALS2
	COLUMNS1; VPADDQ Z17, Z2, Z2; COLUMNS2; DIAGONALS1; VPADDQ Z16, Z0, Z0; DIAGONALS2
	VPADDQ Z16, Z3, Z3; COLUMNS1; COLUMNS2; VPADDQ Z17, Z2, Z2; DIAGONALS1; DIAGONALS2
	VPADDQ Z17, Z3, Z3; COLUMNS1; COLUMNS2; DIAGONALS1; VPADDQ Z16, Z3, Z3; DIAGONALS2
	VPADDQ Z16, Z0, Z0; COLUMNS1; VPADDQ Z17, Z0, Z0; COLUMNS2; DIAGONALS1; DIAGONALS2
	COLUMNS1; COLUMNS2; VPADDQ Z16, Z1, Z1; VPADDQ Z17, Z0, Z0; DIAGONALS1; DIAGONALS2
	VPBROADCASTQ work<>+0x00(SB), Z1
	VPTERNLOGQ $0x96, Z8, Z1, Z0 // exclusive or of all three
	VPSHUFB Z21, Z0, Z0
	VPANDQ Z20, Z0, Z0
	VPXORQ Z18, Z0, Z0
	VMOVDQA64 Z19, Z18
	VMOVDQA64 Z0, Z19
	INCQ BX
	CMPQ BX, $3
	JNE round

	VPSLLQ X22, Z18, Z18
	VPORQ Z19, Z18, Z18
	VMOVDQU64 Z18, (DI)
	ADDQ $64, DI
	DECQ SI
	JNZ group
	VZEROUPPER
	RET

// The same with AVX2, four values at once. It has no rotation, and its sixteen
// registers hold the work vector, so the rest lies on the stack.

#define TWICE(name, lo, hi) \
	DATA name<>+0x00(SB)/8, $lo; \
	DATA name<>+0x08(SB)/8, $hi; \
	DATA name<>+0x10(SB)/8, $lo; \
	DATA name<>+0x18(SB)/8, $hi; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

TWICE(swap64y, 0x0001020304050607, 0x08090a0b0c0d0e0f)
TWICE(right24, 0x0201000706050403, 0x0a09080f0e0d0c0b)
TWICE(right16, 0x0100070605040302, 0x09080f0e0d0c0b0a)

#define SUMS(e, f, g, h, m, n, o, p) \
	VPADDQ e, Y0, Y0; \
	VPADDQ f, Y1, Y1; \
	VPADDQ g, Y2, Y2; \
	VPADDQ h, Y3, Y3; \
	VPXOR Y0, m, m; \
	VPXOR Y1, n, n; \
	VPXOR Y2, o, o; \
	VPXOR Y3, p, p

#define SUMS2(e, f, g, h, i, j, k, l, m, n, o, p) \
	VPADDQ m, i, i; \
	VPADDQ n, j, j; \
	VPADDQ o, k, k; \
	VPADDQ p, l, l; \
	VPXOR i, e, e; \
	VPXOR j, f, f; \
	VPXOR k, g, g; \
	VPXOR l, h, h

#define BYTES(mask, a, b, c, d) \
	VPSHUFB mask<>(SB), a, a; \
	VPSHUFB mask<>(SB), b, b; \
	VPSHUFB mask<>(SB), c, c; \
	VPSHUFB mask<>(SB), d, d

#define LEFT1(a) \
	VPADDQ a, a, Y0; \
	VPSRLQ $63, a, a; \
	VPOR Y0, a, a

#define QUARTER1Y(e, f, g, h, i, j, k, l, m, n, o, p) \
	SUMS(e, f, g, h, m, n, o, p); \
	VPSHUFD $0xb1, m, m; \
	VPSHUFD $0xb1, n, n; \
	VPSHUFD $0xb1, o, o; \
	VPSHUFD $0xb1, p, p; \
	SUMS2(e, f, g, h, i, j, k, l, m, n, o, p); \
	BYTES(right24, e, f, g, h)

#define QUARTER2Y(e, f, g, h, i, j, k, l, m, n, o, p) \
	SUMS(e, f, g, h, m, n, o, p); \
	VMOVDQU Y0, spill-128(SP); \
	BYTES(right16, m, n, o, p); \
	SUMS2(e, f, g, h, i, j, k, l, m, n, o, p); \
	LEFT1(e); \
	LEFT1(f); \
	LEFT1(g); \
	LEFT1(h); \
	VMOVDQU spill-128(SP), Y0

#define COLUMNS1Y QUARTER1Y(Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15)
#define COLUMNS2Y QUARTER2Y(Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15)
#define DIAGONALS1Y QUARTER1Y(Y5, Y6, Y7, Y4, Y10, Y11, Y8, Y9, Y15, Y12, Y13, Y14)
#define DIAGONALS2Y QUARTER2Y(Y5, Y6, Y7, Y4, Y10, Y11, Y8, Y9, Y15, Y12, Y13, Y14)

// func permuteAVX2(x *uint64, groups int, half uint64, keys *[3]uint64)
TEXT ·permuteAVX2(SB), NOSPLIT, $192-32
	MOVQ x+0(FP), DI
	MOVQ groups+8(FP), SI
	MOVQ half+16(FP), CX
	MOVQ keys+24(FP), R8
	MOVQ $1, R9
	SHLQ CX, R9
	DECQ R9

group:
	MOVQ CX, X1
	MOVQ R9, X2
	VPBROADCASTQ X2, Y2
	VMOVDQU (DI), Y4
	VPSRLQ X1, Y4, Y3
	VPAND Y2, Y3, Y3
	VPAND Y2, Y4, Y4
	VMOVDQU Y3, left-96(SP)
	VMOVDQU Y4, right-64(SP)
	VMOVDQU Y2, mask-32(SP)
	XORQ BX, BX

round:
	VMOVDQU right-64(SP), Y4
	VPSHUFB swap64y<>(SB), Y4, Y4
	VMOVDQU Y4, m0-192(SP)
	VPBROADCASTQ (R8)(BX*8), Y4
	VMOVDQU Y4, m1-160(SP)
	VPBROADCASTQ work<>+0x00(SB), Y0
	VPBROADCASTQ work<>+0x08(SB), Y1
	VPBROADCASTQ work<>+0x10(SB), Y2
	VPBROADCASTQ work<>+0x18(SB), Y3
	VPBROADCASTQ work<>+0x20(SB), Y4
	VPBROADCASTQ work<>+0x28(SB), Y5
	VPBROADCASTQ work<>+0x30(SB), Y6
	VPBROADCASTQ work<>+0x38(SB), Y7
	VPBROADCASTQ work<>+0x40(SB), Y8
	VPBROADCASTQ work<>+0x48(SB), Y9
	VPBROADCASTQ work<>+0x50(SB), Y10
	VPBROADCASTQ work<>+0x58(SB), Y11
	VPBROADCASTQ work<>+0x60(SB), Y12
	VPBROADCASTQ work<>+0x68(SB), Y13
	VPBROADCASTQ work<>+0x70(SB), Y14
	VPBROADCASTQ work<>+0x78(SB), Y15
	VPADDQ m0-192(SP), Y0, Y0; COLUMNS1Y; VPADDQ m1-160(SP), Y0, Y0; COLUMNS2Y; DIAGONALS1Y; DIAGONALS2Y
	COLUMNS1Y; COLUMNS2Y; VPADDQ m0-192(SP), Y1, Y1; VPADDQ m1-160(SP), Y0, Y0; DIAGONALS1Y; DIAGONALS2Y
	COLUMNS1Y; VPADDQ m0-192(SP), Y1, Y1; COLUMNS2Y; DIAGONALS1Y; VPADDQ m1-160(SP), Y2, Y2; DIAGONALS2Y
	COLUMNS1Y; VPADDQ m1-160(SP), Y1, Y1; COLUMNS2Y; DIAGONALS1Y; VPADDQ m0-192(SP), Y2, Y2; DIAGONALS2Y
	COLUMNS1Y; VPADDQ m0-192(SP), Y0, Y0; COLUMNS2Y; DIAGONALS1Y; VPADDQ m1-160(SP), Y0, Y0; DIAGONALS2Y
	VPADDQ m0-192(SP), Y2, Y2; COLUMNS1Y; COLUMNS2Y; VPADDQ m1-160(SP), Y3, Y3; DIAGONALS1Y; DIAGONALS2Y
	VPADDQ m1-160(SP), Y1, Y1; COLUMNS1Y; COLUMNS2Y; VPADDQ m0-192(SP), Y0, Y0; DIAGONALS1Y; DIAGONALS2Y
	COLUMNS1Y; VPADDQ m1-160(SP), Y2, Y2; COLUMNS2Y; DIAGONALS1Y; VPADDQ m0-192(SP), Y0, Y0; DIAGONALS2Y
	VPADDQ m0-192(SP), Y3, Y3; COLUMNS1Y; COLUMNS2Y; VPADDQ m1-160(SP), Y2, Y2; DIAGONALS1Y; DIAGONALS2Y
	VPADDQ m1-160(SP), Y3, Y3; COLUMNS1Y; COLUMNS2Y; DIAGONALS1Y; VPADDQ m0-192(SP), Y3, Y3; DIAGONALS2Y
	VPADDQ m0-192(SP), Y0, Y0; COLUMNS1Y; VPADDQ m1-160(SP), Y0, Y0; COLUMNS2Y; DIAGONALS1Y; DIAGONALS2Y
	COLUMNS1Y; COLUMNS2Y; VPADDQ m0-192(SP), Y1, Y1; VPADDQ m1-160(SP), Y0, Y0; DIAGONALS1Y; DIAGONALS2Y
	VPXOR Y8, Y0, Y0
	VPBROADCASTQ work<>+0x00(SB), Y1
	VPXOR Y1, Y0, Y0
	VPSHUFB swap64y<>(SB), Y0, Y0
	VPAND mask-32(SP), Y0, Y0
	VPXOR left-96(SP), Y0, Y0
	VMOVDQU right-64(SP), Y1
	VMOVDQU Y1, left-96(SP)
	VMOVDQU Y0, right-64(SP)
	INCQ BX
	CMPQ BX, $3
	JNE round

	MOVQ CX, X2
	VPSLLQ X2, Y1, Y1
	VPOR Y1, Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $32, DI
	DECQ SI
	JNZ group
	VZEROUPPER
	RET
