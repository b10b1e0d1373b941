package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p/core/peer"

	"quarry/api"
	"quarry/chain/msgs"
	mnet "quarry/markets/net"
	"quarry/node/repo"
	"quarry/storage/paths"
)

// InitMiner makes the repo of a private or monolithic miner and, unless Actor
// names one, the miner actor itself. Running it again after an interruption
// continues: the message that creates the actor is sent once.
type InitMiner struct {
	Dir        string
	Actor      address.Address // existing miner (f0), or Undef to create one
	Owner      address.Address // pays and owns; its key is in the full node's wallet
	Worker     address.Address // BLS key; Undef: the owner, where that is a BLS key
	SectorSize abi.SectorSize
	NoStorage  bool // do not make the repo itself a storage path
	Config     []byte
	Log        *slog.Logger
}

// windowProof of a sector size: V1P1, which networks from version 19 on take
// (lotus chain/actors/builtin/miner/utils.go).
func windowProof(size abi.SectorSize) (abi.RegisteredPoStProof, error) {
	switch size {
	case 2 << 10:
		return abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1, nil
	case 8 << 20:
		return abi.RegisteredPoStProof_StackedDrgWindow8MiBV1_1, nil
	}
	return 0, &api.ErrUnsupportedProof{What: fmt.Sprintf("sectors of %d bytes", size), Hint: "use 2KiB or 8MiB"}
}

// Run does it. The chain must be reachable.
func (in InitMiner) Run(ctx context.Context, chain api.Chain) (maddr address.Address, err error) {
	proof, err := windowProof(in.SectorSize)
	if err != nil {
		return address.Undef, err
	}
	if err := in.checkKeys(ctx, chain); err != nil {
		return address.Undef, err
	}
	r, err := openOrInit(in.Dir, repo.KindMiner)
	if err != nil {
		return address.Undef, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if a, err := MinerAddress(r); err == nil {
		return address.Undef, &api.ErrInvalid{What: "init of " + in.Dir, Reason: "it already belongs to miner " + a.String(),
			Hint: "use another --miner-repo"}
	}
	if err := firstConfig(r, in.Config, in.Log); err != nil {
		return address.Undef, err
	}
	if !in.NoStorage {
		if err := ownStorage(r); err != nil {
			return address.Undef, err
		}
	}
	if maddr = in.Actor; maddr == address.Undef {
		if maddr, err = in.create(ctx, chain, r, proof); err != nil {
			return address.Undef, err
		}
	} else if _, err := chain.StateMinerInfo(ctx, maddr, nil); err != nil {
		return address.Undef, fmt.Errorf("miner %s: %w", maddr, err)
	}
	return maddr, setMinerAddress(ctx, r, maddr)
}

func (in InitMiner) checkKeys(ctx context.Context, chain api.Chain) error {
	if in.Actor != address.Undef {
		return nil
	}
	if in.Owner == address.Undef {
		return &api.ErrInvalid{What: "init", Reason: "no owner", Hint: "give --owner, an address of the full node's wallet with funds"}
	}
	for _, a := range []address.Address{in.Owner, in.worker()} {
		has, err := chain.WalletHas(ctx, a)
		if err != nil {
			return fmt.Errorf("look for %s in the full node's wallet: %w", a, err)
		}
		if !has {
			return &api.ErrInvalid{What: "key " + a.String(), Reason: "it is not in the full node's wallet",
				Hint: "make or import it there first"}
		}
	}
	key, err := chain.StateAccountKey(ctx, in.worker(), nil)
	if err != nil {
		return fmt.Errorf("worker %s: %w", in.worker(), err)
	}
	if key.Protocol() != address.BLS {
		return &api.ErrInvalid{What: "worker " + in.worker().String(), Reason: "blocks are signed with BLS keys only",
			Hint: "give --worker with a BLS (f3) address"}
	}
	return nil
}

func (in InitMiner) worker() address.Address {
	if in.Worker != address.Undef {
		return in.Worker
	}
	return in.Owner
}

// depositMargin is added to the creation deposit the node quotes, in percent,
// because the quote moves with every epoch (lotus cmd/lotus-miner/init.go).
const depositMargin = 1

func (in InitMiner) create(ctx context.Context, chain api.Chain, r *repo.Repo, proof abi.RegisteredPoStProof) (address.Address, error) {
	priv, err := Libp2pKey(r.Keystore())
	if err != nil {
		return address.Undef, err
	}
	pid, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return address.Undef, err
	}
	deposit, err := chain.StateMinerCreationDeposit(ctx, nil)
	if err != nil {
		return address.Undef, fmt.Errorf("ask for the creation deposit: %w", err)
	}
	params, err := msgs.Params(&power.CreateMinerParams{Owner: in.Owner, Worker: in.worker(),
		WindowPoStProofType: proof, Peer: abi.PeerID(pid)})
	if err != nil {
		return address.Undef, err
	}
	sender := setupSender(chain, r, in.Log)
	c, err := sender.Send(ctx, "create-miner", &api.Message{
		To:     builtin.StoragePowerActorAddr,
		From:   in.Owner,
		Value:  big.Div(big.Mul(deposit, big.NewInt(100+depositMargin)), big.NewInt(100)),
		Method: builtin.MethodsPower.CreateMiner,
		Params: params,
	})
	if err != nil {
		return address.Undef, fmt.Errorf("create the miner actor: %w", err)
	}
	got, err := sender.Wait(ctx, c)
	if err != nil {
		return address.Undef, fmt.Errorf("wait for message %s: %w", c, err)
	}
	if !got.Receipt.ExitCode.IsSuccess() {
		return address.Undef, errors.Join(fmt.Errorf("message %s created no miner: exit code %d", c, got.Receipt.ExitCode),
			sender.Forget(ctx, "create-miner"))
	}
	var ret power.CreateMinerReturn
	if err := unmarshal(got.Receipt.Return, &ret); err != nil {
		return address.Undef, fmt.Errorf("read what message %s returned: %w", c, err)
	}
	return ret.IDAddress, nil
}

func setupSender(chain api.Chain, r *repo.Repo, log *slog.Logger) *msgs.Sender {
	return msgs.New(msgs.Config{Confidence: messageConfidence}, msgs.Deps{Chain: chain, Log: log,
		Store: namespace.Wrap(r.Datastore(repo.Messages), datastore.NewKey("setup"))})
}

// openOrInit opens an interrupted init's repo or makes a new one.
func openOrInit(dir string, kind repo.Kind) (*repo.Repo, error) {
	if !repo.Exists(dir) {
		if err := repo.Init(dir, kind); err != nil {
			return nil, err
		}
	}
	r, err := repo.OpenAs(dir, kind)
	var other *repo.ErrKind
	if errors.As(err, &other) {
		return nil, &api.ErrInvalid{What: dir, Reason: fmt.Sprintf("it is a repo of kind %s", other.Have), Hint: "use another directory"}
	}
	return r, err
}

// firstConfig writes the config of a repo that belongs to nobody yet. The file is
// written once and never again: an operator may have changed it.
func firstConfig(r *repo.Repo, config []byte, log *slog.Logger) error {
	file := r.Path(repo.FileConfig)
	old, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return writeNew(file, config)
	case err == nil && !bytes.Equal(old, config) && log != nil:
		log.Warn("the config of an earlier init is kept; change it where it is not what you want", "file", file)
	}
	return err
}

// ownStorage makes the repo a storage path for sealing and for keeping.
func ownStorage(r *repo.Repo) error {
	dir := r.Path("sectors")
	if _, err := os.Stat(filepath.Join(dir, "sectorstore.json")); err == nil {
		return nil
	}
	if err := paths.InitDir(dir, api.PathMeta{ID: api.StorageID(uuid.NewString()), Weight: 10, CanSeal: true, CanStore: true}); err != nil {
		return err
	}
	return writeStorageFile(r.Path(repo.FileStorage), dir)
}

// InitMarkets makes the repo of a markets node.
type InitMarkets struct {
	Dir             string
	Miner           address.Address
	Config          []byte
	PublishPeerInfo bool     // write peer id and addresses to the chain
	Announce        []string // multiaddrs to write
	AllowPrivate    bool     // of them may be private ones
	Log             *slog.Logger
}

// Run does it; it may be repeated.
func (in InitMarkets) Run(ctx context.Context, chain api.Chain) (err error) {
	if in.PublishPeerInfo {
		if err := mnet.CheckAnnounce(in.Announce, in.AllowPrivate); err != nil {
			return &api.ErrInvalid{What: "addresses to publish", Reason: err.Error(),
				Hint: "give --announce, for example /dns4/storage.example.com/tcp/24001"}
		}
	}
	r, err := openOrInit(in.Dir, repo.KindMarkets)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if a, err := MinerAddress(r); err == nil && a != in.Miner {
		return &api.ErrInvalid{What: "init of " + in.Dir, Hint: "use another --markets-repo",
			Reason: "it already belongs to miner " + a.String() + ", not to " + in.Miner.String()}
	}
	if err := firstConfig(r, in.Config, in.Log); err != nil {
		return err
	}
	priv, err := Libp2pKey(r.Keystore())
	if err != nil {
		return err
	}
	pid, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return err
	}
	if in.PublishPeerInfo {
		if err := in.publish(ctx, chain, r, pid.String()); err != nil {
			return err
		}
	}
	return setMinerAddress(ctx, r, in.Miner)
}

func (in InitMarkets) publish(ctx context.Context, chain api.Chain, r *repo.Repo, pid string) error {
	info, err := chain.StateMinerInfo(ctx, in.Miner, nil)
	if err != nil {
		return fmt.Errorf("miner %s: %w", in.Miner, err)
	}
	list, err := mnet.PeerMessages(in.Miner, info.Worker, pid, in.Announce, in.AllowPrivate)
	if err != nil {
		return err
	}
	sender := setupSender(chain, r, in.Log)
	for i, said := range []bool{peerOnChain(info) == pid, slices.Equal(addrsOnChain(info), canonical(in.Announce))} {
		if said {
			continue
		}
		if err := in.say(ctx, sender, list[i]); err != nil {
			return err
		}
	}
	return nil
}

// say sends one message and waits. What it said is forgotten then: whoever says it
// again later, because the chain says something else by now, means a new message.
func (in InitMarkets) say(ctx context.Context, sender *msgs.Sender, m *api.Message) error {
	// The key holds what is said, so that saying something new is a new message.
	key := fmt.Sprintf("peer-info-%d-%x", m.Method, m.Params)
	c, err := sender.Send(ctx, key, m)
	if err != nil {
		return fmt.Errorf("publish peer info of %s: %w", in.Miner, err)
	}
	got, err := sender.Wait(ctx, c)
	if err != nil {
		return fmt.Errorf("wait for message %s: %w", c, err)
	}
	if !got.Receipt.ExitCode.IsSuccess() {
		return errors.Join(fmt.Errorf("message %s was refused: exit code %d", c, got.Receipt.ExitCode), sender.Forget(ctx, key))
	}
	return sender.Forget(ctx, key)
}
