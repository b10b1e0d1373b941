package devnet

import (
	"context"
	"errors"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// apiVersion is the version of the full-node API that is served (lotus
// api/version.go FullAPIVersion1, 2.3.0).
const apiVersion = 2<<16 | 3<<8

// key resolves an address to the key address that signs for it.
func (n *Node) key(ctx context.Context, a address.Address) (address.Address, error) {
	if a.Protocol() != address.ID {
		return a, nil
	}
	return n.StateAccountKey(ctx, a, nil)
}

// WalletNew implements api.Chain.
func (n *Node) WalletNew(ctx context.Context, t api.KeyType) (address.Address, error) {
	return n.wallet.NewKey(ctx, t)
}

// WalletHas implements api.Chain.
func (n *Node) WalletHas(ctx context.Context, a address.Address) (bool, error) {
	k, err := n.key(ctx, a)
	if err != nil {
		return false, err
	}
	return n.wallet.Has(ctx, k)
}

// WalletList implements api.Chain.
func (n *Node) WalletList(ctx context.Context) ([]address.Address, error) { return n.wallet.List(ctx) }

// WalletBalance implements api.Chain.
func (n *Node) WalletBalance(ctx context.Context, a address.Address) (abi.TokenAmount, error) {
	v, err := n.headView(ctx)
	if err != nil {
		return big.Zero(), err
	}
	act, ok, err := v.tree.GetActor(ctx, a)
	if err != nil || !ok {
		return big.Zero(), err
	}
	return act.Balance, nil
}

// WalletSign implements api.Chain.
func (n *Node) WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error) {
	k, err := n.key(ctx, a)
	if err != nil {
		return nil, err
	}
	return n.wallet.Sign(ctx, k, data)
}

// WalletSignMessage implements api.Chain.
func (n *Node) WalletSignMessage(ctx context.Context, a address.Address, msg *api.Message) (*api.SignedMessage, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	k, err := n.key(ctx, a)
	if err != nil {
		return nil, err
	}
	m := *msg
	fillBigs(&m)
	return n.wallet.SignMessage(ctx, k, &m)
}

// WalletVerify implements api.Chain.
func (n *Node) WalletVerify(ctx context.Context, a address.Address, data []byte, sig *crypto.Signature) (bool, error) {
	k, err := n.key(ctx, a)
	if err != nil {
		return false, err
	}
	err = filcrypto.Verify(sig, k, data)
	if errors.Is(err, filcrypto.ErrInvalidSignature) {
		return false, nil
	}
	return err == nil, err
}

// WalletDefaultAddress implements api.Chain.
func (n *Node) WalletDefaultAddress(ctx context.Context) (address.Address, error) {
	return n.wallet.Default(ctx)
}

// WalletSetDefault implements api.Chain.
func (n *Node) WalletSetDefault(ctx context.Context, a address.Address) error {
	return n.wallet.SetDefault(ctx, a)
}

// WalletExport implements api.Chain.
func (n *Node) WalletExport(ctx context.Context, a address.Address) (*api.KeyInfo, error) {
	return n.wallet.Export(ctx, a)
}

// WalletImport implements api.Chain.
func (n *Node) WalletImport(ctx context.Context, k *api.KeyInfo) (address.Address, error) {
	return n.wallet.Import(ctx, k)
}

// WalletDelete implements api.Chain.
func (n *Node) WalletDelete(ctx context.Context, a address.Address) error {
	return n.wallet.Delete(ctx, a)
}

// Version implements api.Node.
func (n *Node) Version(context.Context) (api.VersionInfo, error) { return versionInfo(), nil }

// Session implements api.Node.
func (n *Node) Session(context.Context) (uuid.UUID, error) { return n.session, nil }

// Shutdown implements api.Node.
func (n *Node) Shutdown(context.Context) error {
	if n.cfg.Shutdown == nil {
		return &api.ErrInvalid{What: "shutdown", Reason: "this process does not allow it"}
	}
	n.cfg.Shutdown()
	return nil
}
