package sched

import (
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/porep"
)

func TestDefaults(t *testing.T) {
	want := Config{
		Lease:      15 * time.Minute,
		Silence:    90 * time.Second,
		ClaimWait:  20 * time.Second,
		TaskWait:   30 * time.Second,
		Affinity:   10 * time.Second,
		RetryDelay: time.Second,
		MaxTries:   8,
	}
	for _, c := range []Config{{}, {
		Lease:      -1,
		Silence:    -1,
		ClaimWait:  -1,
		TaskWait:   -1,
		Affinity:   -1,
		RetryDelay: -1,
		MaxTries:   -1,
	}} {
		setDefaults(&c)
		require.Equal(t, want, c)
	}
	ones := Config{
		Lease:      1,
		Silence:    1,
		ClaimWait:  1,
		TaskWait:   1,
		Affinity:   1,
		RetryDelay: 1,
		MaxTries:   1,
	}
	same := ones
	setDefaults(&same)
	require.Equal(t, ones, same)
	_, err := New(t.Context(), Config{}, Deps{})
	require.ErrorContains(t, err, "no datastore given")
}

// TestWhatEachKindTakes, of one size on each side of the margins.
func TestWhatEachKindTakes(t *testing.T) {
	for kind, want := range map[api.TaskType]Resources{
		api.TaskAddPiece:       {MemBytes: 64 << 20, Threads: 1, Count: 1},
		api.TaskPreCommit1:     {Threads: 1, Count: 1},
		api.TaskPreCommit2:     {Threads: 1, Count: 1},
		api.TaskCommit1:        {Count: 1},
		api.TaskCommit2:        {MemBytes: 2 << 30, Wide: 1, Count: 1},
		api.TaskFinalize:       {Count: 1},
		api.TaskUnseal:         {Threads: 1, Count: 1},
		api.TaskUpdate:         {Threads: 1, Count: 1},
		api.TaskProveUpdate1:   {Count: 1},
		api.TaskProveUpdate2:   {MemBytes: 2 << 30, Wide: 1, Count: 1},
		api.TaskFinalizeUpdate: {Count: 1},
	} {
		got, err := Needs(kind, proof2K)
		require.NoError(t, err)
		if want.MemBytes == 0 {
			got.MemBytes = 0 // what the proofs state
		}
		require.Equal(t, want, got, kind)
	}
	for p, margin := range map[abi.RegisteredSealProof]uint64{
		abi.RegisteredSealProof_StackedDrg8MiBV1_1:   16 << 20,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1: 384 << 20,
		abi.RegisteredSealProof_StackedDrg32GiBV1_1:  384 << 20,
	} {
		stated, err := porep.PreCommit1Memory(p, 1)
		require.NoError(t, err)
		got, err := Needs(api.TaskPreCommit1, p)
		require.NoError(t, err)
		require.Equal(t, stated+margin, got.MemBytes)
		stated, err = porep.ProveMemory(p)
		require.NoError(t, err)
		got, err = Needs(api.TaskCommit1, p)
		require.NoError(t, err)
		require.Equal(t, stated+margin, got.MemBytes)
	}
	for kind, p := range map[api.TaskType]abi.RegisteredSealProof{"PC3": proof2K, api.TaskCommit2: 99} {
		_, err := Needs(kind, p)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid)
	}
}

// TestSyntheticSectorsNeedMoreMemory, where the synthetic proofs take more than
// the trees.
func TestSyntheticSectorsNeedMoreMemory(t *testing.T) {
	for p, margin := range map[abi.RegisteredSealProof]uint64{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep:   16 << 20,
		abi.RegisteredSealProof_StackedDrg8MiBV1_1_Feat_SyntheticPoRep:   16 << 20,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1_Feat_SyntheticPoRep: 384 << 20,
		abi.RegisteredSealProof_StackedDrg32GiBV1_1_Feat_SyntheticPoRep:  384 << 20,
		abi.RegisteredSealProof_StackedDrg64GiBV1_1_Feat_SyntheticPoRep:  384 << 20,
	} {
		trees, err := porep.PreCommit2Memory(p, mostCores)
		require.NoError(t, err)
		synthetic, err := porep.SynthesizeMemory(p, mostCores)
		require.NoError(t, err)
		got, err := Needs(api.TaskPreCommit2, p)
		require.NoError(t, err)
		require.Equal(t, max(trees, synthetic)+margin, got.MemBytes)
	}
}

func TestCores(t *testing.T) {
	for cpus, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 2, 64: 32} {
		require.Equal(t, want, Resources{Wide: 1}.cores(cpus))
		require.Equal(t, 3+2*want, Resources{Threads: 3, Wide: 2}.cores(cpus))
	}
	sum := Resources{MemBytes: 1, Threads: 2, Wide: 3, Count: 4}
	sum.add(Resources{MemBytes: 10, Threads: 20, Wide: 30, Count: 40})
	require.Equal(t, Resources{MemBytes: 11, Threads: 22, Wide: 33, Count: 44}, sum)
}

func TestFits(t *testing.T) {
	mem := func(n uint64) Resources { return Resources{MemBytes: n} }
	threads := func(n int) Resources { return Resources{Threads: n} }
	for name, c := range map[string]struct {
		need, used Resources
		has        api.WorkerInfo
		want       bool
	}{
		"memory it does not tell of":    {mem(1 << 40), mem(1 << 40), api.WorkerInfo{}, true},
		"all the memory":                {mem(10), mem(0), api.WorkerInfo{MemBytes: 10}, true},
		"a byte too few":                {mem(11), mem(0), api.WorkerInfo{MemBytes: 10}, false},
		"the rest of the memory":        {mem(4), mem(6), api.WorkerInfo{MemBytes: 10}, true},
		"a byte more than the rest":     {mem(5), mem(6), api.WorkerInfo{MemBytes: 10}, false},
		"nothing beside what is full":   {mem(0), mem(10), api.WorkerInfo{MemBytes: 10}, true},
		"nothing beside what is over":   {mem(0), mem(11), api.WorkerInfo{MemBytes: 10}, false},
		"the last core":                 {threads(1), threads(3), api.WorkerInfo{CPUs: 4}, true},
		"one core too few":              {threads(2), threads(3), api.WorkerInfo{CPUs: 4}, false},
		"more than all, alone":          {threads(9), threads(0), api.WorkerInfo{CPUs: 4}, true},
		"no core, when all are busy":    {threads(0), threads(9), api.WorkerInfo{CPUs: 4}, true},
		"cores it does not tell of":     {threads(1), threads(1), api.WorkerInfo{}, false},
		"a wide one beside narrow ones": {Resources{Wide: 1}, threads(2), api.WorkerInfo{CPUs: 4}, true},
		"a wide one beside too many":    {Resources{Wide: 1}, threads(3), api.WorkerInfo{CPUs: 4}, false},
		"two wide ones":                 {Resources{Wide: 1}, Resources{Wide: 1}, api.WorkerInfo{CPUs: 64}, false},
	} {
		require.Equal(t, c.want, c.need.fits(c.used, c.has), name)
	}
}

// What a task takes is what the proofs state, never less than two layers.
func TestStatedMemory(t *testing.T) {
	for p, layers := range map[abi.RegisteredSealProof]uint64{
		abi.RegisteredSealProof_StackedDrg8MiBV1_1: 16 << 20, abi.RegisteredSealProof_StackedDrg512MiBV1_1: 1 << 30,
		abi.RegisteredSealProof_StackedDrg32GiBV1_1_Feat_SyntheticPoRep: 64 << 30, abi.RegisteredSealProof_StackedDrg64GiBV1_1: 128 << 30,
	} {
		kinds := []api.TaskType{api.TaskAddPiece, api.TaskPreCommit1, api.TaskUnseal, api.TaskPreCommit2, api.TaskCommit1, api.TaskUpdate,
			api.TaskProveUpdate1}
		for _, k := range kinds {
			r, err := Needs(k, p)
			require.NoError(t, err, k)
			require.NotZero(t, r.MemBytes, k)
			if k == api.TaskPreCommit1 || k == api.TaskUnseal {
				require.Greater(t, r.MemBytes, layers)
				require.Less(t, r.MemBytes, layers*3+(64<<20))
			} else {
				require.Less(t, r.MemBytes, uint64(2<<30), k)
			}
		}
	}
}
