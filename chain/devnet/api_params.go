package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/account"
	"github.com/filecoin-project/go-state-types/builtin/v18/cron"
	"github.com/filecoin-project/go-state-types/builtin/v18/datacap"
	"github.com/filecoin-project/go-state-types/builtin/v18/eam"
	"github.com/filecoin-project/go-state-types/builtin/v18/ethaccount"
	init18 "github.com/filecoin-project/go-state-types/builtin/v18/init"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/multisig"
	"github.com/filecoin-project/go-state-types/builtin/v18/paych"
	"github.com/filecoin-project/go-state-types/builtin/v18/placeholder"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/reward"
	"github.com/filecoin-project/go-state-types/builtin/v18/system"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/manifest"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// methods are the exported methods of each actor of the bundle but the EVM, whose
// types need a module that nothing else here does.
var methods = map[string]map[abi.MethodNum]builtin.MethodMeta{
	manifest.SystemKey:      system.Methods,
	manifest.InitKey:        init18.Methods,
	manifest.RewardKey:      reward.Methods,
	manifest.CronKey:        cron.Methods,
	manifest.PowerKey:       power.Methods,
	manifest.MarketKey:      market.Methods,
	manifest.VerifregKey:    verifreg.Methods,
	manifest.DatacapKey:     datacap.Methods,
	manifest.AccountKey:     account.Methods,
	manifest.MinerKey:       miner.Methods,
	manifest.MultisigKey:    multisig.Methods,
	manifest.PaychKey:       paych.Methods,
	manifest.EamKey:         eam.Methods,
	manifest.PlaceholderKey: placeholder.Methods,
	manifest.EthAccountKey:  ethaccount.Methods,
}

// cborValue is what parameters of a method are.
type cborValue interface {
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

// newParams makes the parameters of a method, empty.
func (v *view) newParams(ctx context.Context, code cid.Cid, method abi.MethodNum) (cborValue, error) {
	return v.newValue(ctx, code, method, func(f reflect.Type) reflect.Type { return f.In(0) })
}

// newReturn makes what a method gives back, empty.
func (v *view) newReturn(ctx context.Context, code cid.Cid, method abi.MethodNum) (cborValue, error) {
	return v.newValue(ctx, code, method, func(f reflect.Type) reflect.Type { return f.Out(0) })
}

// newValue makes a value of the type that pick finds in the signature of a method.
func (v *view) newValue(ctx context.Context, code cid.Cid, method abi.MethodNum, pick func(reflect.Type) reflect.Type) (cborValue, error) {
	if method == builtin.MethodSend {
		return new(abi.EmptyValue), nil
	}
	_, data, err := v.manifest(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range data.Entries {
		if e.Code != code {
			continue
		}
		if methods[e.Name] == nil {
			return nil, &api.ErrInvalid{What: "parameters", Reason: fmt.Sprintf("those of the %s actor are not built yet", e.Name)}
		}
		meta, ok := methods[e.Name][method]
		if !ok || meta.Method == nil {
			return nil, &api.ErrInvalid{What: "parameters", Reason: fmt.Sprintf("the %s actor has no method %d", e.Name, method)}
		}
		p, ok := reflect.New(pick(reflect.TypeOf(meta.Method)).Elem()).Interface().(cborValue)
		if !ok {
			reason := fmt.Sprintf("those of method %d of the %s actor are not built yet", method, e.Name)
			return nil, &api.ErrInvalid{What: "parameters", Reason: reason}
		}
		return p, nil
	}
	return nil, &api.ErrInvalid{What: "parameters", Reason: fmt.Sprintf("no actor of this network has the code %s", code)}
}

// manifest lists the actors of the network, with the CID of the list.
func (v *view) manifest(ctx context.Context) (cid.Cid, *manifest.ManifestData, error) {
	var sys system.State
	if _, err := v.load(ctx, builtin.SystemActorAddr, &sys); err != nil {
		return cid.Undef, nil, err
	}
	var data manifest.ManifestData
	if err := v.store.Get(ctx, sys.BuiltinActors, &data); err != nil {
		return cid.Undef, nil, fmt.Errorf("actors manifest: %w", err)
	}
	return sys.BuiltinActors, &data, nil
}

// StateDecodeParams implements api.ChainTools.
func (n *Node) StateDecodeParams(
	ctx context.Context, to address.Address, method abi.MethodNum, params []byte, tsk api.TipSetKey,
) (json.RawMessage, error) {
	if len(params) > api.MaxMessageParams {
		return nil, tooLong(len(params))
	}
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	act, err := v.actor(ctx, to)
	if err != nil {
		return nil, err
	}
	p, err := v.newParams(ctx, act.Code, method)
	if err != nil {
		return nil, err
	}
	r := bytes.NewReader(params)
	if err := p.UnmarshalCBOR(r); err != nil {
		return nil, notParams(to, method, err.Error())
	}
	if r.Len() > 0 {
		return nil, notParams(to, method, fmt.Sprintf("%d bytes follow them", r.Len()))
	}
	return json.Marshal(p)
}

func tooLong(n int) error {
	return &api.ErrInvalid{What: "parameters", Reason: fmt.Sprintf("%d bytes, limit %d", n, api.MaxMessageParams)}
}

func notParams(to fmt.Stringer, method abi.MethodNum, reason string) error {
	return &api.ErrInvalid{What: fmt.Sprintf("parameters of method %d of %s", method, to), Reason: reason}
}

// StateEncodeParams implements api.ChainTools. Fields that the parameters do not
// have are refused: they would be left out of a message in silence.
func (n *Node) StateEncodeParams(ctx context.Context, code cid.Cid, method abi.MethodNum, params json.RawMessage) ([]byte, error) {
	if len(params) > 2*api.MaxMessageParams {
		return nil, tooLong(len(params))
	}
	if !code.Defined() {
		return nil, &api.ErrInvalid{What: "parameters", Reason: "no actor code is given"}
	}
	v, _, err := n.at(ctx, nil)
	if err != nil {
		return nil, err
	}
	p, err := v.newParams(ctx, code, method)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, notParams(code, method, err.Error())
	}
	if _, none := p.(*abi.EmptyValue); none {
		return []byte{}, nil
	}
	var out bytes.Buffer
	if err := p.MarshalCBOR(&out); err != nil {
		return nil, notParams(code, method, err.Error())
	}
	if out.Len() > api.MaxMessageParams {
		return nil, tooLong(out.Len())
	}
	return out.Bytes(), nil
}

// decodeReturn is the return value of a message as JSON: of its type where the
// message succeeded and the method is known, else its bytes.
func (n *Node) decodeReturn(ctx context.Context, c cid.Cid, r *api.MessageReceipt, child *api.TipSet) (json.RawMessage, error) {
	raw, err := json.Marshal(r.Return)
	if err != nil || r.ExitCode != 0 || len(r.Return) == 0 {
		return raw, err
	}
	msg, _, err := n.ledger.loadMessage(ctx, c)
	if err != nil {
		return nil, err
	}
	v, err := n.ledger.view(ctx, child.ParentState())
	if err != nil {
		return nil, err
	}
	act, ok, err := v.tree.GetActor(ctx, msg.To)
	if err != nil || !ok { // it may have deleted itself
		return raw, err
	}
	out, err := v.newReturn(ctx, act.Code, msg.Method)
	if err != nil {
		return raw, nil // nobody here knows its type
	}
	if err := out.UnmarshalCBOR(bytes.NewReader(r.Return)); err != nil {
		return raw, nil // an actor of another kind answered
	}
	return json.Marshal(out)
}
