package prove

import (
	"fmt"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/internal/breaker"
)

func newProver(t *testing.T, d *disks, places int) *Prover {
	t.Helper()
	p, err := New(Config{SectorLimit: limit, Probe: retry}, Deps{
		Index:   d,
		Local:   d,
		FS:      d,
		Remote:  far{d},
		Breaker: breaker.New(breaker.Config{Places: places, Retry: retry}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func infoOf(n abi.SectorNumber) proof.SectorInfo {
	return proof.SectorInfo{SealProof: seal, SectorNumber: n, SealedCID: sealed().Info().SealedCID}
}

func infos(from, to abi.SectorNumber) (out []proof.SectorInfo) {
	for n := from; n < to; n++ {
		out = append(out, infoOf(n))
	}
	return out
}

func provable(n abi.SectorNumber, thorough bool) api.ProvableSector {
	return api.ProvableSector{Number: n, SealProof: seal, SealedCID: sealed().Info().SealedCID, Thorough: thorough}
}

// faultOf asks for a proof of sector 1 alone and gives what is wrong with it.
func faultOf(t *testing.T, p *Prover) api.SectorFault {
	t.Helper()
	res, err := p.ProveWindow(t.Context(), api.WindowPoStRequest{Miner: miner, Randomness: draw, Sectors: infos(1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Skipped) != 1 || res.Skipped[0].Sector != 1 || len(res.Vanilla) != 0 {
		t.Fatalf("skipped %v, %d bytes of proof", res.Skipped, len(res.Vanilla))
	}
	return res.Skipped[0]
}

func want(t *testing.T, f api.SectorFault, reason api.FaultReason, path, detail string) {
	t.Helper()
	if f.Reason != reason || f.Path != path || !strings.Contains(f.Detail, detail) {
		t.Errorf("fault %s, want %s at %q with %q", fmt.Sprintf("%+v", f), reason, path, detail)
	}
}
