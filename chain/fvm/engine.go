package fvm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"quarry/chain/fvm/bundle"
	"quarry/chain/fvm/instrument"
	"quarry/chain/fvm/wasm"
)

// EngineConfig says how actors are compiled.
type EngineConfig struct {
	// CacheDir keeps compiled code between starts, about 45 MB; the first start
	// takes some 4 s of CPU, later ones half a second. Empty means no cache.
	CacheDir string
	Log      *slog.Logger // nil discards
	// Interpreter runs actors without compiling them: slower, for processors
	// that the compiler does not know.
	Interpreter bool
	// Bundle replaces the built-in v18 devnet actors, for tests.
	Bundle *bundle.Bundle
}

// compiled is one actor ready to be instantiated.
type compiled struct {
	code     wazero.CompiledModule
	minPages uint32 // of memory
	minTable uint32 // elements of an exported table
}

// Engine holds the compiled actors. It is safe for concurrent use.
type Engine struct {
	log     *slog.Logger
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	bundle  *bundle.Bundle
	modules map[cid.Cid]*compiled
	config  wazero.ModuleConfig
	alloc   experimental.MemoryAllocator
}

// ErrNoCode means that an actor's code is not part of the bundle.
var ErrNoCode = errors.New("actor code is not in the bundle")

// NewEngine loads, checks and compiles the actors. It returns
// bundle.ErrNotBuiltIn when the program carries none.
func NewEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	b := cfg.Bundle
	if b == nil {
		var err error
		if b, err = bundle.Devnet(); err != nil {
			return nil, err
		}
	}
	e := &Engine{log: cfg.Log, bundle: b, modules: make(map[cid.Cid]*compiled), alloc: wasm.NewAllocator()}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	rc := wazero.NewRuntimeConfig()
	if cfg.Interpreter {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	rc = rc.WithDebugInfoEnabled(false)
	if cfg.CacheDir != "" {
		c, err := wazero.NewCompilationCacheWithDir(filepath.Join(cfg.CacheDir, "wazero"))
		if err != nil {
			return nil, fmt.Errorf("open compilation cache in %s (is it writable?): %w", cfg.CacheDir, err)
		}
		e.cache, rc = c, rc.WithCompilationCache(c)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, rc)
	e.config = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(zeroReader{})
	if err := e.compileAll(ctx, cfg.CacheDir); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

// Close frees the compiled code; machines of this engine must be done.
func (e *Engine) Close(ctx context.Context) error {
	err := e.runtime.Close(ctx)
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	if err != nil {
		return fmt.Errorf("close actor engine: %w", err)
	}
	return nil
}

// Bundle is the set of actors that this engine runs.
func (e *Engine) Bundle() *bundle.Bundle { return e.bundle }

func (e *Engine) compileAll(ctx context.Context, dir string) error {
	type pending struct {
		name string
		code cid.Cid
		mod  wazero.CompiledModule
	}
	var all []pending
	v3 := false
	for _, a := range e.bundle.Actors {
		raw, _ := e.bundle.Wasm(a.Code)
		metered, err := meter(dir, raw)
		if err != nil {
			return fmt.Errorf("actor %s: %w", a.Name, err)
		}
		mod, err := e.runtime.CompileModule(ctx, metered)
		if err != nil {
			return fmt.Errorf("compile actor %s: %w", a.Name, err)
		}
		all = append(all, pending{a.Name, a.Code, mod})
		v3 = v3 || usesV3(mod)
	}
	funcs := hostFuncs(v3)
	for _, p := range all {
		c, err := checkModule(p.mod, funcs)
		if err != nil {
			return fmt.Errorf("actor %s: %w", p.name, err)
		}
		raw, _ := e.bundle.Wasm(p.code)
		if c.minTable, err = instrument.ExportedTable(raw); err != nil {
			return fmt.Errorf("actor %s: %w", p.name, err)
		}
		e.modules[p.code] = c
	}
	return buildHost(ctx, e.runtime, funcs)
}

// meter instruments a module, or takes it from the cache. The cache is only an
// aid: it is written when possible and checked by name of both contents.
func meter(dir string, raw []byte) ([]byte, error) {
	if dir == "" {
		return instrument.Meter(raw)
	}
	sum := sha256.Sum256(raw)
	path := filepath.Join(dir, "metered-"+instrument.Version+"-"+hex.EncodeToString(sum[:16])+".wasm")
	if b, err := os.ReadFile(path); err == nil && len(b) > sha256.Size {
		body := b[sha256.Size:]
		if got := sha256.Sum256(body); string(got[:]) == string(b[:sha256.Size]) {
			return body, nil
		}
	}
	out, err := instrument.Meter(raw)
	if err != nil {
		return nil, err
	}
	got := sha256.Sum256(out)
	_ = renameio.WriteFile(path, append(got[:], out...), 0o600)
	return out, nil
}

// usesV3 recognises actors of FVM 3 by the signature of emit_event or of the
// randomness calls.
func usesV3(mod wazero.CompiledModule) bool {
	for _, d := range mod.ImportedFunctions() {
		m, n, _ := d.Import()
		if m == "rand" && len(d.ParamTypes()) == 5 || m == "event" && n == "emit_event" && len(d.ParamTypes()) == 2 {
			return true
		}
	}
	return false
}

// checkModule refuses modules whose imports the host does not provide with
// exactly that signature, or that lack what the VM calls.
func checkModule(mod wazero.CompiledModule, funcs []hostFunc) (*compiled, error) {
	known := make(map[string][]api.ValueType, len(funcs))
	for i := range funcs {
		known[funcs[i].module+"."+funcs[i].name] = funcs[i].wasmParams()
	}
	for _, d := range mod.ImportedFunctions() {
		m, n, _ := d.Import()
		want, ok := known[m+"."+n]
		if !ok || string(want) != string(d.ParamTypes()) {
			return nil, fmt.Errorf("import %s.%s with parameters %x is not provided", m, n, d.ParamTypes())
		}
		if string(d.ResultTypes()) != string([]api.ValueType{api.ValueTypeI32}) {
			return nil, fmt.Errorf("import %s.%s has results %x, want one i32", m, n, d.ResultTypes())
		}
	}
	inv, ok := mod.ExportedFunctions()["invoke"]
	if !ok || string(inv.ParamTypes()) != string([]api.ValueType{api.ValueTypeI32}) || len(inv.ResultTypes()) != 1 {
		return nil, errors.New("no function invoke(i32) i32 is exported")
	}
	mem, ok := mod.ExportedMemories()["memory"]
	if !ok {
		return nil, errors.New("no memory is exported")
	}
	return &compiled{code: mod, minPages: mem.Min()}, nil
}

func (e *Engine) module(code cid.Cid) (*compiled, error) {
	m, ok := e.modules[code]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoCode, code)
	}
	return m, nil
}

func (e *Engine) instantiate(ctx context.Context, m *compiled) (api.Module, error) {
	return e.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, e.alloc), m.code, e.config)
}

// zeroReader replaces the random source that wazero would seed per instance;
// actors import none.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
