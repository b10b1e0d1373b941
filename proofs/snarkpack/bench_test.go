package snarkpack

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkAggregate(b *testing.B) {
	v := loadVectors(b, 128)
	for _, n := range []int{16, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				v.aggregate(b, n, V2)
			}
		})
	}
}

// BenchmarkVerify decodes and verifies.
func BenchmarkVerify(b *testing.B) {
	v := loadVectors(b, 128)
	for _, n := range []int{16, 128} {
		proof, err := v.aggregate(b, n, V2).MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		st := v.statement(n, V2)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				ok, err := VerifyBytes(context.Background(), st, proof)
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
