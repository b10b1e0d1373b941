package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/paramcache"
	"quarry/node/config"
	"quarry/proofs/circuit"
	"quarry/proofs/r1cs"
)

const testProof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// parameterNames of the circuits a miner of 2 KiB sectors proves with.
func parameterNames(t *testing.T) (porep, winning, window string) {
	t.Helper()
	w, err := testProof.RegisteredWinningPoStProof()
	if err != nil {
		t.Fatal(err)
	}
	d, err := testProof.RegisteredWindowPoStProof()
	if err != nil {
		t.Fatal(err)
	}
	return must(circuit.PoRepName(testProof)), must(circuit.WinningName(w)), must(circuit.WindowName(d))
}

// square is x·x = y with y public: the smallest thing with parameters.
type square struct{}

func (square) Synthesize(_ context.Context, cs r1cs.ConstraintSystem) error {
	var two, four, one r1cs.Element
	two.SetUint64(2)
	four.SetUint64(4)
	one.SetOne()
	x, y := cs.Aux(two), cs.Input(four)
	cs.Enforce(r1cs.LC{{V: x, C: one}}, r1cs.LC{{V: x, C: one}}, r1cs.LC{{V: y, C: one}})
	return nil
}

// parameterDirs makes directories of devnet parameters. What is in the files is
// not what the names say: choosing the form reads a key and looks for the rest.
func parameterDirs(t *testing.T) map[string]string {
	t.Helper()
	porep, winning, window := parameterNames(t)
	dirs := map[string]string{}
	for what, names := range map[string][]string{"nothing": nil, "seal": {porep}, "PoSt": {winning, window},
		"seal, window": {porep, window}, "seal, winning": {porep, winning}, "everything": {porep, winning, window}} {
		dirs[what] = t.TempDir()
		c := must(paramcache.New(paramcache.Config{Dir: dirs[what], Devnet: true}, paramcache.Deps{}))
		for _, name := range names {
			if err := c.Generate(t.Context(), name, square{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dirs
}

// network is what a node learns about proofs at its start.
type network struct{ devnet, vanilla, groth16 bool }

var (
	publicNet   = network{}
	vanillaNet  = network{devnet: true, vanilla: true}
	bothNet     = network{devnet: true, vanilla: true, groth16: true}
	groth16Only = network{devnet: true, groth16: true}
	neither     = network{devnet: true}
)

func chooser(t *testing.T, net network, form, dir string) *Node {
	t.Helper()
	n := newNode(Settings{Mining: true, Sealing: true, SectorStorage: true, ProvingOpts: ProvingOptions{Form: form, ParameterDir: dir}})
	n.devnet, n.vanilla, n.groth16, n.proof = net.devnet, net.vanilla, net.groth16, testProof
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Every form on every kind of network, with all and without any parameters on
// this machine: what is sent, or the reason why nothing is.
func TestChooseForm(t *testing.T) {
	const (
		vanilla   = "vanilla"
		groth16   = "groth16"
		noVanilla = `cannot prove vanilla proofs on this network yet; set Form = "auto" or "groth16" under [Proving]`
		noKeys    = "cannot prove Groth16 proofs by the full node, which has no verifying keys yet; generate them with " +
			"`miner-worker params generate` where it runs"
		generate  = "generate them with: miner-worker params generate"
		published = "put the published files there"
	)
	dirs := parameterDirs(t)
	for _, c := range []struct {
		net           network
		form          string
		with, without string // parameters; what is sent, or part of an error
	}{
		{vanillaNet, "", vanilla, vanilla},
		{vanillaNet, config.FormAuto, vanilla, vanilla},
		{vanillaNet, config.FormVanilla, vanilla, vanilla},
		{vanillaNet, config.FormGroth16, noKeys, noKeys},
		{bothNet, "", vanilla, vanilla},
		{bothNet, config.FormAuto, vanilla, vanilla},
		{bothNet, config.FormVanilla, vanilla, vanilla},
		{bothNet, config.FormGroth16, groth16, generate},
		{groth16Only, "", groth16, generate},
		{groth16Only, config.FormAuto, groth16, generate},
		{groth16Only, config.FormVanilla, noVanilla, noVanilla},
		{groth16Only, config.FormGroth16, groth16, generate},
		{neither, "", noKeys, noKeys},
		{neither, config.FormAuto, noKeys, noKeys},
		{neither, config.FormVanilla, noVanilla, noVanilla},
		{neither, config.FormGroth16, noKeys, noKeys},
		// Parameters generated for a devnet are none for a public network.
		{publicNet, "", published, published},
		{publicNet, config.FormAuto, published, published},
		{publicNet, config.FormVanilla, noVanilla, noVanilla},
		{publicNet, config.FormGroth16, published, published},
		{vanillaNet, "halo", `Form = "halo" under [Proving]`, `use "auto", "groth16" or "vanilla"`},
		{publicNet, "halo", `Form = "halo" under [Proving]`, `use "auto", "groth16" or "vanilla"`},
	} {
		for dir, want := range map[string]string{"everything": c.with, "nothing": c.without} {
			t.Run(fmt.Sprintf("%+v/%s/%s", c.net, c.form, dir), func(t *testing.T) {
				n := chooser(t, c.net, c.form, dirs[dir])
				err := n.chooseForm(t.Context())
				switch want {
				case vanilla, groth16:
					if err != nil || (n.snark != nil) != (want == groth16) {
						t.Errorf("Groth16 %v, %v; want %s", n.snark != nil, err, want)
					}
				default:
					if err == nil || !strings.Contains(err.Error(), want) || n.snark != nil {
						t.Errorf("got %v, want %q", err, want)
					}
				}
				set := n.snark != nil
				if (n.workerSnark() != nil) != set || (n.miningSnark() != nil) != set || (n.sealChecker() != nil) != set {
					t.Error("a part is told another form")
				}
			})
		}
	}
}

// What is missing is named, all of it at once; what is not used is not asked for.
func TestChooseFormNeeds(t *testing.T) {
	porep, winning, window := parameterNames(t)
	dirs := parameterDirs(t)
	all := Settings{Mining: true, Sealing: true}
	for name, c := range map[string]struct {
		dir  string
		set  Settings
		want []string // in the error; none: there is no error
	}{
		"nothing there":      {"nothing", all, []string{"winning PoSt", winning, "window PoSt", window}},
		"only seal":          {"seal", all, []string{"winning PoSt", winning, "window PoSt", window}},
		"only PoSt":          {"PoSt", all, []string{"the key that checks seal proofs", porep}},
		"no winning":         {"seal, window", all, []string{"winning PoSt", winning}},
		"no window":          {"seal, winning", all, []string{"window PoSt", window}},
		"blocks are off":     {"seal, window", Settings{Mining: true, Sealing: true, ProvingOpts: ProvingOptions{NoBlocks: true}}, nil},
		"window is off":      {"seal, winning", Settings{Mining: true, Sealing: true, ProvingOpts: ProvingOptions{NoWindow: true}}, nil},
		"sealing alone":      {"seal", Settings{Sealing: true}, nil},
		"mining alone":       {"PoSt", Settings{Mining: true}, nil},
		"markets need none":  {"nothing", Settings{Markets: true}, nil},
		"everything is here": {"everything", all, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := chooser(t, bothNet, config.FormGroth16, dirs[c.dir])
			c.set.ProvingOpts.Form, c.set.ProvingOpts.ParameterDir = config.FormGroth16, dirs[c.dir]
			n.set = c.set
			err := n.chooseForm(t.Context())
			if len(c.want) == 0 {
				if err != nil || (n.snark == nil) != (c.set.Markets) {
					t.Fatalf("Groth16 %v, %v", n.snark != nil, err)
				}
				return
			}
			var missing *paramcache.MissingError
			if !errors.As(err, &missing) || missing.Dir != dirs[c.dir] {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
}

// On a public network a file counts only when it is the published one.
func TestChooseFormRefusesForgedKeys(t *testing.T) {
	from, dir := parameterDirs(t)["everything"], t.TempDir()
	porep, winning, window := parameterNames(t)
	for _, name := range []string{porep, winning, window} {
		for _, ext := range []string{".params", ".vk"} {
			b, err := os.ReadFile(filepath.Join(from, "devnet", name+ext))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+ext), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := chooser(t, publicNet, config.FormAuto, dir)
	var damaged *paramcache.DamagedError
	if err := n.chooseForm(t.Context()); !errors.As(err, &damaged) ||
		!strings.Contains(err.Error(), "the key that checks seal proofs") || n.snark != nil {
		t.Errorf("got %v", err)
	}
	var unsupported *api.ErrUnsupportedProof
	if err := chooser(t, publicNet, config.FormVanilla, dir).chooseForm(t.Context()); !errors.As(err, &unsupported) {
		t.Errorf("got %v", err)
	}
}
