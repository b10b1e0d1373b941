package porep

import (
	"context"
	"testing"
)

// sector8MiB is the largest sector of the vectors, sealed.
func sector8MiB(b *testing.B) *sealedSector {
	b.Helper()
	for _, v := range sectorVectors(b) {
		if v.Size == 8<<20 {
			return seal(b, &v)
		}
	}
	b.Fatal("no 8 MiB sector in the vectors")
	return nil
}

func BenchmarkPreCommit2_8MiB(b *testing.B) {
	s := sector8MiB(b)
	b.SetBytes(8 << 20)
	for b.Loop() {
		if _, err := s.par.preCommit2(context.Background(), s.task2(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProve8MiB(b *testing.B) {
	s := sector8MiB(b)
	for b.Loop() {
		if _, err := s.par.prove(context.Background(), s.s, &s.req, s.sealed, s.cache); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSynthesize2KiB(b *testing.B) {
	s, _ := synthesized(b)
	for b.Loop() {
		if err := s.synthesize(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyNonInteractive2KiB(b *testing.B) {
	_, info, blob := proved(b, ni2KiB)
	for b.Loop() {
		if ok, err := Verify(context.Background(), info, blob); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
