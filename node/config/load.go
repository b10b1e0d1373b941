package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"quarry/internal/apiinfo"
	"quarry/internal/inputfile"
	"quarry/internal/secret"
)

// maxFile bounds a config file in bytes.
const maxFile = 1 << 20

// Load reads path over the defaults and env (as os.Environ gives it) over both.
// A missing file is *ErrMissing: the defaults would be a choice that nobody made.
// The result is not validated, see [Config.Validate]; every error names the file
// and line or the variable.
func Load(path string, env []string) (Config, error) {
	f, _, err := inputfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, missing(path)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	if len(b) > maxFile {
		return Config{}, fmt.Errorf("config %s is bigger than %d bytes", path, maxFile)
	}
	c, err := decode(path, b)
	if err != nil {
		return Config{}, err
	}
	if err := private(f, c, b); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if err := applyEnv(&c, env); err != nil {
		return Config{}, err
	}
	return c, nil
}

// private refuses a file that anybody may change, and one with a token in it that
// others may read: *secret.ErrExposed.
func private(f *os.File, c Config, text []byte) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o002 != 0 {
		return &secret.ErrExposed{
			Path:   f.Name(),
			Reason: fmt.Sprintf("it has mode %04o, so everybody on this host decides what this process does", st.Mode().Perm()),
			Mend:   "chmod o-w " + f.Name(),
		}
	}
	if !secret.In(text) && !holdsToken(c.Subsystems.SealerApiInfo) && !holdsToken(c.Subsystems.SectorIndexApiInfo) &&
		!holdsToken(c.Link.MarketsApiInfo) {
		return nil
	}
	return secret.CheckFile(f.Name(), st)
}

// holdsToken is true of what cannot be read, too.
func holdsToken(info string) bool {
	if info == "" || apiinfo.FromFile(info) {
		return false
	}
	i, err := apiinfo.Parse(info)
	return err != nil || !i.Token.Empty()
}

// ErrMissing says that a repo has no config.
type ErrMissing struct {
	Path   string
	Target string // of a link that leads nowhere; empty where there is none
}

func (e *ErrMissing) Error() string {
	what := "config " + e.Path + " is missing"
	if e.Target != "" {
		what = "config " + e.Path + " is a link to " + e.Target + ", which is missing"
	}
	return what + "; restore it from a backup, or write a new one from what `miner config default` prints (which parts run " +
		"here is a choice that is not guessed)"
}

func missing(path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		target = "" // no link
	}
	return &ErrMissing{Path: path, Target: target}
}

func decode(path string, src []byte) (Config, error) {
	c := Default()
	dec := toml.NewDecoder(bytes.NewReader(src)).DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, explain(path, err)
	}
	return c, nil
}

func explain(path string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var errs []error
		for _, e := range strict.Errors {
			line, _ := e.Position()
			errs = append(errs, fmt.Errorf("%s:%d: %s", path, line, unknownKey(strings.Join(e.Key(), "."))))
		}
		return errors.Join(errs...)
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, col := bad.Position()
		where := ""
		if k := strings.Join(bad.Key(), "."); k != "" {
			where = " (key " + k + ")"
		}
		return fmt.Errorf("%s:%d:%d: %s%s", path, line, col, strings.TrimPrefix(bad.Error(), "toml: "), where)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func unknownKey(key string) string {
	if slices.Contains(lotusOnly, key) {
		return fmt.Sprintf("key %s is one of Lotus's that has no effect here; remove the line or put # before it", key)
	}
	if n := nearest(key, keys()); n != "" {
		return fmt.Sprintf("unknown key %s; did you mean %s?", key, n)
	}
	return fmt.Sprintf("unknown key %s; `config default` lists every key", key)
}

func keys() []string {
	c := Default()
	var out []string
	for _, f := range fields(&c) {
		out = append(out, f.key())
	}
	return out
}

// notKeys are variables with a section's prefix that mean something else.
var notKeys = []string{"MINER_API_INFO"}

// applyEnv sets MINER_<SECTION>_<FIELD>; the same with LOTUS_ works where the
// first is not given.
func applyEnv(c *Config, env []string) error {
	vars := map[string]string{}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			vars[k] = v
		}
	}
	known := map[string]bool{}
	for _, f := range fields(c) {
		name := "MINER_" + f.env()
		known[name] = true
		text, ok := vars[name]
		if !ok {
			name = "LOTUS_" + f.env()
			text, ok = vars[name]
		}
		if !ok {
			continue
		}
		if err := f.set(text); err != nil {
			return fmt.Errorf("environment %s: %w", name, err)
		}
	}
	return strayEnv(c, vars, known)
}

// strayEnv finds misspelt overrides: a name under a section of ours that is no
// key of it, in our spelling or in Lotus's.
func strayEnv(c *Config, vars map[string]string, known map[string]bool) error {
	sections := map[string]bool{}
	var names []string
	for _, f := range fields(c) {
		section, _, _ := strings.Cut(f.section, ".")
		sections[strings.ToUpper(section)+"_"] = true
		names = append(names, f.env())
	}
	var errs []error
	for name := range vars {
		prefix, key := cutPrefix(name)
		if prefix == "" || known["MINER_"+key] || slices.Contains(notKeys, name) {
			continue
		}
		for section := range sections {
			if strings.HasPrefix(key, section) {
				errs = append(errs, fmt.Errorf("environment %s sets no key of the config%s", name, strayHint(prefix, key, names)))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// cutPrefix parts a variable that may mean a key: MINER_ or LOTUS_, and the key.
func cutPrefix(name string) (prefix, key string) {
	for _, p := range []string{"MINER_", "LOTUS_"} {
		if key, ok := strings.CutPrefix(name, p); ok {
			return p, key
		}
	}
	return "", ""
}

func strayHint(prefix, key string, names []string) string {
	if prefix == "LOTUS_" && slices.ContainsFunc(lotusOnly, func(k string) bool {
		return strings.EqualFold(strings.ReplaceAll(k, ".", "_"), key)
	}) {
		return "; it is one of Lotus's that has no effect here: unset it for this process"
	}
	if n := nearest(key, names); n != "" {
		return "; did you mean " + prefix + n + "?"
	}
	if prefix == "LOTUS_" {
		return "; if it is meant for a Lotus program, unset it for this process"
	}
	return ""
}

// listenerKeys are the keys under whose LOTUS_ names a Lotus node on the same host
// finds its own listener (lotus node/config/types.go, sections API and Libp2p).
var listenerKeys = []string{"API.ListenAddress", "API.RemoteListenAddress", "Libp2p.ListenAddresses", "Libp2p.AnnounceAddresses"}

// BorrowedListeners are lines about LOTUS_ variables in env that override a
// listener of this process. They may be meant for a Lotus node on the same host,
// whose port this process would then take.
func BorrowedListeners(env []string) (out []string) {
	c, vars := Default(), map[string]bool{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		vars[name] = true
	}
	for _, f := range fields(&c) {
		lotus, own := "LOTUS_"+f.env(), "MINER_"+f.env()
		if slices.Contains(listenerKeys, f.key()) && vars[lotus] && !vars[own] {
			out = append(out, fmt.Sprintf("environment %s overrides %s of this process; if it is meant for a Lotus node, "+
				"unset it here or set %s",
				lotus, f.key(), own))
		}
	}
	return out
}

// lotusOnly are keys of lotus node/config/types.go v1.17.2 that a migrating
// operator may have set and that nothing here reads.
var lotusOnly = strings.Fields(`
API.Timeout Backup.DisableMetadataLog
Libp2p.NoAnnounceAddresses Libp2p.BootstrapPeers Libp2p.ProtectedPeers Libp2p.DisableNatPortMap
Libp2p.ConnMgrLow Libp2p.ConnMgrHigh Libp2p.ConnMgrGrace
Dealmaking.ConsiderOfflineStorageDeals Dealmaking.ConsiderOnlineRetrievalDeals Dealmaking.ConsiderOfflineRetrievalDeals
Dealmaking.SimultaneousTransfersForStoragePerClient Dealmaking.Filter Dealmaking.RetrievalFilter Dealmaking.RetrievalPricing
Proving.DisableWDPoStPreChecks Proving.MaxPartitionsPerRecoveryMessage
Sealing.MaxSealingSectorsForDeals Sealing.PreferNewSectorsForDeals Sealing.MaxUpgradingSectors
Sealing.MinUpgradeSectorExpiration Sealing.MinTargetUpgradeSectorExpiration Sealing.FinalizeEarly
Sealing.MakeNewSectorForDeals Sealing.CollateralFromMinerBalance
Sealing.AvailableBalanceBuffer Sealing.DisableCollateralFallback
Sealing.PreCommitBatchSlack Sealing.AggregateCommits Sealing.MinCommitBatch
Sealing.CommitBatchSlack Sealing.BatchPreCommitAboveBaseFee
Sealing.AggregateAboveBaseFee Sealing.TerminateBatchMax Sealing.TerminateBatchMin Sealing.TerminateBatchWait
Storage.ParallelFetchLimit Storage.AllowSectorDownload
Storage.AllowRegenSectorKey Storage.LocalWorkerName Storage.Assigner Storage.DisallowRemoteFinalize Storage.ResourceFiltering
Fees.MaxTerminateGasFee
Addresses.PreCommitControl Addresses.CommitControl Addresses.TerminateControl
Addresses.DisableOwnerFallback Addresses.DisableWorkerFallback
Pubsub IndexProvider DAGStore Logging Backup`)
