package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/golang-jwt/jwt/v5"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"

	"quarry/api"
	"quarry/node/repo"
)

// minerKey holds the miner's ID address as a string, in the node's prefix.
var minerKey = datastore.NewKey("miner-address")

// MinerAddress reads for which miner a repo was made.
func MinerAddress(r *repo.Repo) (address.Address, error) {
	b, err := r.Datastore(repo.Node).Get(context.Background(), minerKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return address.Undef, fmt.Errorf("repo %s has no miner yet; finish `miner init` (running it again continues where "+
			"it stopped)", r.Dir())
	}
	if err != nil {
		return address.Undef, fmt.Errorf("read the miner address of %s: %w", r.Dir(), err)
	}
	return address.NewFromString(string(b))
}

// setMinerAddress is the last durable step of an init.
func setMinerAddress(ctx context.Context, r *repo.Repo, a address.Address) error {
	ds := r.Datastore(repo.Node)
	if err := ds.Put(ctx, minerKey, []byte(a.String())); err != nil {
		return fmt.Errorf("remember the miner address: %w", err)
	}
	return ds.Sync(ctx, minerKey)
}

// keyTypeLibp2p is the keystore type of the host key (lotus
// node/modules/lp2p/libp2p.go).
const keyTypeLibp2p = "libp2p-host"

// Libp2pKey reads the host's identity, or makes one and stores it.
func Libp2pKey(ks *repo.Keystore) (crypto.PrivKey, error) {
	k, err := ks.Get(repo.KeyLibp2p)
	var none *repo.ErrNoKey
	if errors.As(err, &none) {
		return newLibp2pKey(ks)
	}
	if err != nil {
		return nil, err
	}
	priv, err := crypto.UnmarshalPrivateKey(k.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("libp2p identity in the keystore: %w", err)
	}
	return priv, nil
}

func newLibp2pKey(ks *repo.Keystore) (crypto.PrivKey, error) {
	priv, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a libp2p identity: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("encode the libp2p identity: %w", err)
	}
	return priv, ks.Put(repo.KeyLibp2p, repo.Key{Type: keyTypeLibp2p, PrivateKey: b})
}

// dataTokenKey held a token of role worker that earlier versions showed to whoever
// served sector files.
var dataTokenKey = datastore.NewKey("data-token")

// retireDataToken revokes that token: it may be known to others.
func retireDataToken(ctx context.Context, r *repo.Repo) error {
	ds := r.Datastore(repo.Node)
	b, err := ds.Get(ctx, dataTokenKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	var c jwt.RegisteredClaims
	if err == nil {
		_, _, err = jwt.NewParser().ParseUnverified(string(b), &c)
	}
	if err == nil {
		err = r.Tokens().Revoke(ctx, c.ID)
	}
	var unknown *api.ErrNotFound
	if err != nil && !errors.As(err, &unknown) {
		return fmt.Errorf("revoke the former token for sector files: %w", err)
	}
	return errors.Join(ds.Delete(ctx, dataTokenKey), ds.Sync(ctx, dataTokenKey))
}
