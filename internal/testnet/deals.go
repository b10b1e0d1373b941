package testnet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/google/uuid"

	"quarry/api"
)

// Deal is one file on its way.
type Deal struct {
	File      string // what is stored
	Sum       string // its SHA2-256, hex
	Size      int64  // bytes
	UUID      string // of the deal, once it is proposed
	Root      string // CID of the payload
	Retrieved string // the file that came back
	Last      api.DealInfo
	Sector    api.SectorInfo

	started bool // its sector was told not to wait for more
}

// NewDeal writes the file to be stored into the network's directory, so that the
// comparison at the end is with bytes nobody changed meanwhile.
func (n *Network) NewDeal(name string, in io.Reader) (*Deal, error) {
	one := &Deal{File: filepath.Join(n.dir, "original-"+name), Retrieved: filepath.Join(n.dir, "retrieved-"+name)}
	out, err := os.Create(one.File)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	h := sha256.New()
	if one.Size, err = io.Copy(io.MultiWriter(out, h), in); err != nil {
		return nil, err
	}
	one.Sum = hex.EncodeToString(h.Sum(nil))
	return one, out.Close()
}

// NewClient makes a key with funds to make deals with.
func (n *Network) NewClient(ctx context.Context) (address.Address, error) {
	wallet, err := n.Chain.WalletNew(ctx, api.KeySecp256k1)
	if err != nil {
		return address.Undef, fmt.Errorf("client key: %w", err)
	}
	return wallet, n.Fund(ctx, wallet, 100)
}

// Propose makes the deal and returns when the miner has the data.
func (n *Network) Propose(ctx context.Context, wallet address.Address, one *Deal) error {
	env, err := n.clientEnv()
	if err != nil {
		return err
	}
	var said struct {
		UUID string
		Root string
	}
	out, err := n.Cmd(ctx, "miner-client", env, "deal", "--json", "--file", one.File, "--from", wallet.String(),
		"--until", "transferred", n.MinerAddr)
	if err != nil {
		return err
	}
	if err := lastObject(out, &said); err != nil {
		return err
	}
	one.UUID, one.Root = said.UUID, said.Root
	n.cfg.Note("deal %s", one.UUID)
	return nil
}

func (n *Network) clientEnv() ([]string, error) {
	full, err := n.FullNode("client")
	return []string{full, "CLIENT_PATH=" + n.Repo("client")}, err
}

// lastObject decodes the last JSON object a command printed: with --json the
// result comes after any progress.
func lastObject(out string, into any) error {
	dec := json.NewDecoder(strings.NewReader(out))
	for {
		err := dec.Decode(into)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the command's answer %q: %w", out, err)
		}
	}
}

// Refresh reads a deal from the markets node. A deal that failed for good is a
// *Fatal.
func (n *Network) Refresh(ctx context.Context, one *Deal) error {
	id, err := uuid.Parse(one.UUID)
	if err != nil {
		return err
	}
	info, err := n.Markets.DealsGet(ctx, id, false)
	if err != nil {
		return err
	}
	if info.Retry == api.DealRetryFatal && info.Err != "" {
		return &Fatal{fmt.Errorf("deal %s failed: %s", one.UUID, info.Err)}
	}
	one.Last = info
	return nil
}

// Active brings a deal further: its sector does not wait for others, as with an
// operator in a hurry. It tells whether the chain has the deal active.
func (n *Network) Active(ctx context.Context, one *Deal) (bool, error) {
	if one.Last.Placement == nil {
		return false, nil
	}
	number := one.Last.Placement.Sector.Number
	if !one.started {
		err := n.Miner.SectorStartSealing(ctx, number)
		var invalid *api.ErrInvalid
		one.started = err == nil || errors.As(err, &invalid)
	}
	s, err := n.Miner.SectorsStatus(ctx, number, false)
	if err != nil {
		return false, err
	}
	one.Sector = s
	note := string(s.State)
	if s.Task != nil {
		note += fmt.Sprintf(" %s %.0f%%", s.Task.Stage, s.Task.Percent)
	}
	if s.LastErr != "" {
		note += " (" + s.LastErr + ")"
	}
	if !one.Last.OnChainActive {
		n.cfg.Note("sector %d: %s", number, note)
	}
	return one.Last.OnChainActive, nil
}

// Retrieve fetches the deal's file over HTTP until that succeeds, and requires
// that what came back is what was given away.
func (n *Network) Retrieve(ctx context.Context, one *Deal) error {
	env, err := n.clientEnv()
	if err != nil {
		return err
	}
	url, err := n.RetrievalURL()
	if err != nil {
		return err
	}
	if err := n.Until(ctx, "the retrieval", func(ctx context.Context) (bool, error) {
		_, err := n.Cmd(ctx, "miner-client", env, "retrieve", "--url", url, "--output", one.Retrieved, one.Root)
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := one.compare(); err != nil {
		return err
	}
	n.cfg.Note("%d bytes equal", one.Size)
	return nil
}

// compare requires that what came back is what was given away.
func (one *Deal) compare() error {
	f, err := os.Open(one.Retrieved)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != one.Sum || n != one.Size {
		return fmt.Errorf("the retrieved file differs: %d bytes sha256 %s, want %d bytes %s", n, sum, one.Size, one.Sum)
	}
	return nil
}
