package interop

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	lapi "github.com/filecoin-project/lotus/api"
	"github.com/filecoin-project/lotus/api/client"
	"github.com/filecoin-project/lotus/api/v1api"
	"github.com/filecoin-project/lotus/chain/types"
)

// devnet is a running miner-devnet.
type devnet struct {
	dir  string
	info string // FULLNODE_API_INFO
	node v1api.FullNode
}

// spawn starts miner-devnet (from ../bin, or MINER_DEVNET) on a new repo.
func spawn(t *testing.T, args ...string) *devnet {
	t.Helper()
	bin := os.Getenv("MINER_DEVNET")
	if bin == "" {
		bin = filepath.Join("..", "bin", "miner-devnet")
	}
	d := &devnet{dir: t.TempDir()}
	cmd := exec.Command(bin, append([]string{"--repo", d.dir, "run", "--listen", "127.0.0.1:0", "--sector-size", "2KiB"}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s (make build first): %v", bin, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("miner-devnet: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read the API line: %v", err)
	}
	info, ok := strings.CutPrefix(strings.TrimSpace(line), "FULLNODE_API_INFO=")
	token, addr, ok2 := strings.Cut(info, ":")
	if !ok || !ok2 {
		t.Fatalf("first line is %q", line)
	}
	parts := strings.Split(addr, "/") // /ip4/127.0.0.1/tcp/<port>/http
	url := "ws://" + parts[2] + ":" + parts[4] + "/rpc/v1"
	node, closer, err := client.NewFullNodeRPCV1(t.Context(), url, http.Header{"Authorization": []string{"Bearer " + token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closer)
	d.info, d.node = info, node
	return d
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestHeadAndNotify(t *testing.T) {
	d := spawn(t)
	ctx := limit(t)
	v, err := d.node.Version(ctx)
	if err != nil || v.APIVersion != lapi.FullAPIVersion1 {
		t.Fatalf("version %+v, %v", v, err)
	}
	sub, err := d.node.ChainNotify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := <-sub
	if len(first) != 1 || first[0].Type != "current" {
		t.Fatalf("first notification %+v", first)
	}
	at := first[0].Val.Height()
	for range 5 {
		for _, c := range <-sub {
			if c.Type != "apply" || c.Val.Height() <= at {
				t.Fatalf("change %s at %d after %d", c.Type, c.Val.Height(), at)
			}
			at = c.Val.Height()
		}
	}
	head, err := d.node.ChainHead(ctx)
	if err != nil || head.Height() < at {
		t.Fatalf("head %v, %v", head, err)
	}
	// Lotus computed the CIDs from the headers it decoded: they must be the
	// names under which the node knows the blocks.
	for _, b := range head.Blocks() {
		if got, err := d.node.ChainGetBlock(ctx, b.Cid()); err != nil || got.Cid() != b.Cid() {
			t.Fatalf("block %s: %v", b.Cid(), err)
		}
	}
}

func TestMinerState(t *testing.T) {
	d := spawn(t)
	ctx := limit(t)
	maddr, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := d.node.StateMinerInfo(ctx, maddr, types.EmptyTSK)
	if err != nil || mi.SectorSize != 2048 {
		t.Fatalf("info %+v, %v", mi, err)
	}
	p, err := d.node.StateMinerPower(ctx, maddr, types.EmptyTSK)
	if err != nil || !p.MinerPower.RawBytePower.Equals(big.NewInt(4096)) || !p.HasMinPower {
		t.Fatalf("power %+v, %v", p, err)
	}
	ss, err := d.node.StateMinerSectors(ctx, maddr, nil, types.EmptyTSK)
	if err != nil || len(ss) != 2 {
		t.Fatalf("sectors %+v, %v", ss, err)
	}
	dl, err := d.node.StateMinerProvingDeadline(ctx, maddr, types.EmptyTSK)
	if err != nil || dl.WPoStProvingPeriod != 2880 {
		t.Fatalf("deadline %+v, %v", dl, err)
	}
	part, err := d.node.StateSectorPartition(ctx, maddr, ss[0].SectorNumber, types.EmptyTSK)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := d.node.StateMinerPartitions(ctx, maddr, part.Deadline, types.EmptyTSK)
	if err != nil || len(ps) != 1 {
		t.Fatalf("partitions %+v, %v", ps, err)
	}
	if n, err := ps[0].ActiveSectors.Count(); err != nil || n != 2 {
		t.Fatalf("active sectors %d, %v", n, err)
	}
	np, err := d.node.StateGetNetworkParams(ctx)
	if err != nil || np.BlockDelaySecs != 1 || np.PreCommitChallengeDelay != 10 {
		t.Fatalf("network %+v, %v", np, err)
	}
	if _, err := d.node.StateReadState(ctx, maddr, types.EmptyTSK); err != nil {
		t.Fatal(err)
	}
}

func TestPushAndWait(t *testing.T) {
	d := spawn(t)
	ctx := limit(t)
	from, err := d.node.WalletDefaultAddress(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, kt := range []types.KeyType{types.KTBLS, types.KTSecp256k1} {
		to, err := d.node.WalletNew(ctx, kt)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*types.Message{
			{From: from, To: to, Value: types.FromFil(5)},
			{From: to, To: from, Value: types.FromFil(1)},
		} {
			s, err := d.node.MpoolPushMessage(ctx, m, nil)
			if err != nil {
				t.Fatal(err)
			}
			l, err := d.node.StateWaitMsg(ctx, s.Cid(), 3, lapi.LookbackNoLimit, true)
			if err != nil || l.Receipt.ExitCode != 0 || l.Message != s.Cid() {
				t.Fatalf("wait %+v, %v", l, err)
			}
			if got, err := d.node.ChainGetMessage(ctx, s.Cid()); err != nil || got.Cid() != s.Message.Cid() {
				t.Fatalf("message %v, %v", got, err)
			}
		}
	}
}
