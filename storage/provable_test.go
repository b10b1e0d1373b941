package storage_test

import (
	"context"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage"
)

// unprovable gives what is wrong with sectors of the miner of these tests, each of
// which has commR on chain.
func unprovable(t *testing.T, m *storage.Manager, commR cid.Cid, sectors ...api.SectorRef) []api.SectorFault {
	t.Helper()
	r := api.ProvableRequest{Miner: ref.ID.Miner}
	for _, s := range sectors {
		r.Sectors = append(r.Sectors, api.ProvableSector{Number: s.ID.Number, SealProof: s.ProofType, SealedCID: commR, Thorough: true})
	}
	res, err := m.CheckProvable(context.Background(), r)
	require.NoError(t, err)
	require.Len(t, res.Prints, len(sectors)-len(res.Faults))
	return res.Faults
}
