//go:build !purego

#include "textflag.h"

// SHA-256 blocks with the SHA2 extension (Arm ARM, SHA256H, SHA256H2, SHA256SU0,
// SHA256SU1). A block is the 32 bytes at each of two addresses.

// UPDATE is four rounds with the scheduled words w. x and y are the state, t a
// copy of x.
#define UPDATE(x, y, t, w) \
	SHA256H w.S4, y, x \
	SHA256H2 w.S4, t, y \
	VMOV x.B16, t.B16

// EXTEND puts the sixteenth next words in the place of a.
#define EXTEND(a, b, c, d) \
	SHA256SU0 b.S4, a.S4 \
	SHA256SU1 d.S4, c.S4, a.S4

#define CONSTANTS VLD1.P 16(R2), [V20.S4]

#define ONE(a, b, c, d) \
	CONSTANTS \
	VADD V20.S4, a.S4, V9.S4 \
	EXTEND(a, b, c, d) \
	UPDATE(V2, V3, V8, V9)

#define ONELAST(a) \
	CONSTANTS \
	VADD V20.S4, a.S4, V9.S4 \
	UPDATE(V2, V3, V8, V9)

#define FLIP(a, b, c, d) \
	VREV32 a.B16, a.B16 \
	VREV32 b.B16, b.B16 \
	VREV32 c.B16, c.B16 \
	VREV32 d.B16, d.B16

// func blocksSHA2(state *[8]uint32, halves *[2]uintptr, n int)
TEXT ·blocksSHA2(SB), NOSPLIT, $0-24
	MOVD state+0(FP), R0
	MOVD halves+8(FP), R1
	MOVD n+16(FP), R5
	VLD1 (R0), [V0.S4, V1.S4]

block:
	MOVD $·k256(SB), R2
	MOVD.P 8(R1), R3
	MOVD.P 8(R1), R4
	VLD1 (R3), [V4.B16, V5.B16]
	VLD1 (R4), [V6.B16, V7.B16]
	VMOV V0.B16, V2.B16
	VMOV V1.B16, V3.B16
	VMOV V0.B16, V8.B16
	FLIP(V4, V5, V6, V7)
	ONE(V4, V5, V6, V7)
	ONE(V5, V6, V7, V4)
	ONE(V6, V7, V4, V5)
	ONE(V7, V4, V5, V6)
	ONE(V4, V5, V6, V7)
	ONE(V5, V6, V7, V4)
	ONE(V6, V7, V4, V5)
	ONE(V7, V4, V5, V6)
	ONE(V4, V5, V6, V7)
	ONE(V5, V6, V7, V4)
	ONE(V6, V7, V4, V5)
	ONE(V7, V4, V5, V6)
	ONELAST(V4)
	ONELAST(V5)
	ONELAST(V6)
	ONELAST(V7)
	VADD V2.S4, V0.S4, V0.S4
	VADD V3.S4, V1.S4, V1.S4
	SUB $1, R5, R5
	CBNZ R5, block
	VST1 [V0.S4, V1.S4], (R0)
	RET

#define TWO(a, b, c, d, e, f, g, h) \
	CONSTANTS \
	VADD V20.S4, a.S4, V9.S4 \
	VADD V20.S4, e.S4, V19.S4 \
	EXTEND(a, b, c, d) \
	EXTEND(e, f, g, h) \
	UPDATE(V2, V3, V8, V9) \
	UPDATE(V12, V13, V18, V19)

#define TWOLAST(a, e) \
	CONSTANTS \
	VADD V20.S4, a.S4, V9.S4 \
	VADD V20.S4, e.S4, V19.S4 \
	UPDATE(V2, V3, V8, V9) \
	UPDATE(V12, V13, V18, V19)

// func blocks2SHA2(states *[2][8]uint32, halves *[2]uintptr, n int)
//
// Two streams in step; the second's data is 32 bytes behind the first's.
TEXT ·blocks2SHA2(SB), NOSPLIT, $0-24
	MOVD states+0(FP), R0
	MOVD halves+8(FP), R1
	MOVD n+16(FP), R5
	ADD $32, R0, R6
	VLD1 (R0), [V0.S4, V1.S4]
	VLD1 (R6), [V10.S4, V11.S4]

block:
	MOVD $·k256(SB), R2
	MOVD.P 8(R1), R3
	MOVD.P 8(R1), R4
	VLD1.P 32(R3), [V4.B16, V5.B16]
	VLD1.P 32(R4), [V6.B16, V7.B16]
	VLD1 (R3), [V14.B16, V15.B16]
	VLD1 (R4), [V16.B16, V17.B16]
	VMOV V0.B16, V2.B16
	VMOV V1.B16, V3.B16
	VMOV V0.B16, V8.B16
	VMOV V10.B16, V12.B16
	VMOV V11.B16, V13.B16
	VMOV V10.B16, V18.B16
	FLIP(V4, V5, V6, V7)
	FLIP(V14, V15, V16, V17)
	TWO(V4, V5, V6, V7, V14, V15, V16, V17)
	TWO(V5, V6, V7, V4, V15, V16, V17, V14)
	TWO(V6, V7, V4, V5, V16, V17, V14, V15)
	TWO(V7, V4, V5, V6, V17, V14, V15, V16)
	TWO(V4, V5, V6, V7, V14, V15, V16, V17)
	TWO(V5, V6, V7, V4, V15, V16, V17, V14)
	TWO(V6, V7, V4, V5, V16, V17, V14, V15)
	TWO(V7, V4, V5, V6, V17, V14, V15, V16)
	TWO(V4, V5, V6, V7, V14, V15, V16, V17)
	TWO(V5, V6, V7, V4, V15, V16, V17, V14)
	TWO(V6, V7, V4, V5, V16, V17, V14, V15)
	TWO(V7, V4, V5, V6, V17, V14, V15, V16)
	TWOLAST(V4, V14)
	TWOLAST(V5, V15)
	TWOLAST(V6, V16)
	TWOLAST(V7, V17)
	VADD V2.S4, V0.S4, V0.S4
	VADD V3.S4, V1.S4, V1.S4
	VADD V12.S4, V10.S4, V10.S4
	VADD V13.S4, V11.S4, V11.S4
	SUB $1, R5, R5
	CBNZ R5, block
	VST1 [V0.S4, V1.S4], (R0)
	VST1 [V10.S4, V11.S4], (R6)
	RET
