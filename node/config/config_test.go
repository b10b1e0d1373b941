package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// parse reads a text as Load reads a file.
func parse(path string, src []byte, env []string) (Config, error) {
	c, err := decode(path, src)
	if err == nil {
		err = applyEnv(&c, env)
	}
	return c, err
}

func TestSampleEqualsDefaults(t *testing.T) {
	sample := Sample()
	for name, src := range map[string]string{
		"as written":   sample,
		"uncommented":  regexp.MustCompile(`(?m)^  #([A-Z])`).ReplaceAllString(sample, "  $1"),
		"no comments":  Render(Default(), false),
		"empty":        "",
		"round trip":   Render(Default(), true),
		"windows line": strings.ReplaceAll(sample, "\n", "\r\n"),
	} {
		c, err := parse("f", []byte(src), nil)
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s: %v\n%+v", name, err, c)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryKeyDocumented(t *testing.T) {
	for _, k := range append(keys(), "API", "Subsystems", "Link", "Libp2p", "Dealmaking", "Sealing", "Storage", "Proving", "Fees",
		"Addresses") {
		if len(docs()[k]) < 20 {
			t.Errorf("%s: documentation is missing", k)
		}
	}
	for _, k := range keys() {
		for _, l := range lotusOnly {
			if k == l {
				t.Errorf("%s is a key but listed as without effect", k)
			}
		}
	}
}

// Every key can be changed by file and environment, and rendering keeps it.
func TestEveryKeyCanBeSet(t *testing.T) {
	values := func(f field) string {
		switch f.value.Interface().(type) {
		case bool:
			if f.value.Bool() {
				return "false"
			}
			return "true"
		case Epochs:
			return "7"
		case FIL:
			return "1.5 FIL"
		case string:
			return `a"b\c`
		case []string:
			return "x, y"
		}
		return "123456"
	}
	def := Default()
	for i, f := range fields(&def) {
		for _, prefix := range []string{"MINER_", "LOTUS_"} {
			c, err := parse("f", nil, []string{prefix + f.env() + "=" + values(f)})
			if err != nil {
				t.Fatalf("%s: %v", f.key(), err)
			}
			got := fields(&c)[i]
			if got.toml() == f.toml() {
				t.Errorf("%s: not changed by the environment", f.key())
			}
			again, err := parse("f", []byte(Render(c, true)), nil)
			if err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("%s: rendered and read: %v", f.key(), err)
			}
		}
	}
}

func TestErrorsNameLineAndKey(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"misspelt": {"[Dealmaking]\n\n  ConsiderOnlineStorageDeal = false\n",
			"f:3: unknown key Dealmaking.ConsiderOnlineStorageDeal; did you mean Dealmaking.ConsiderOnlineStorageDeals?"},
		"case": {"[Sealing]\nMaxWaitDealSectors = 1\n",
			"f:2: unknown key Sealing.MaxWaitDealSectors; did you mean Sealing.MaxWaitDealsSectors?"},
		"wrong section": {"[Sealing]\nPublishMsgPeriod = \"1h\"\n", "did you mean Dealmaking.PublishMsgPeriod?"},
		"lotus key":     {"[Sealing]\nFinalizeEarly = true\n", "f:2: key Sealing.FinalizeEarly is one of Lotus's that has no effect here"},
		"nonsense":      {"[Sealing]\nXyzzy = 1\n", "f:2: unknown key Sealing.Xyzzy; `config default` lists every key"},
		"section":       {"[Subsystem]\nEnableMining = false\n", "f:"},
		"type":          {"[Sealing]\n\nMaxWaitDealsSectors = \"two\"\n", "f:3:"},
		"duration":      {"[Sealing]\nWaitDealsDelay = \"six hours\"\n", "neither a duration"},
		"money":         {"[Fees]\nMaxCommitGasFee = \"5 EUR\"\n", "unknown unit"},
		"syntax":        {"[Sealing\n", "f:1:"},
		"two":           {"[API]\nA1 = 1\nB1 = 2\n", "f:3:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("f", []byte(c.src), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	src := []byte("[API]\nListenAddress = \"127.0.0.1:1\"\n")
	c, err := parse("f", src, []string{"MINER_API_LISTENADDRESS=127.0.0.1:2", "LOTUS_API_LISTENADDRESS=127.0.0.1:3",
		"MINER_API_INFO=x", "MINER_PATH=/x", "LOTUS_PATH=/y",
		"LOTUS_MINER_PATH=/z", "OTHER_API_TYPO=1", "junk"})
	if err != nil || c.API.ListenAddress != "127.0.0.1:2" {
		t.Fatalf("%q, %v", c.API.ListenAddress, err)
	}
	for env, want := range map[string]string{
		"MINER_SEALING_MAXWAITDEALSECTORS=1": "did you mean MINER_SEALING_MAXWAITDEALSSECTORS?",
		"MINER_SUBSYSTEMS_ENABLEMINING=ja":   "neither true nor false",
		"MINER_API_MAXREQUESTBYTES=1MB":      "not a whole number",
		"LOTUS_SEALING_MAXSEALINGSECTORS=-1": "zero or more",
		"LOTUS_SEALING_MAXWAITDEALSECTORS=1": "did you mean LOTUS_SEALING_MAXWAITDEALSSECTORS?",
		"LOTUS_API_INFERNAL=1":               "LOTUS_API_INFERNAL sets no key of the config",
		"LOTUS_API_TIMEOUT=30s":              "it is one of Lotus's that has no effect here: unset it for this process",
		"LOTUS_FEES_DEFAULTMAXFEE=1":         "if it is meant for a Lotus program, unset it for this process",
		"MINER_FEES_ZZZZZZZZZZZZZZZZZ=1":     "MINER_FEES_ZZZZZZZZZZZZZZZZZ sets no key of the config",
	} {
		if _, err := parse("f", nil, []string{env}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}

// Tables within a section are written as Lotus writes them.
func TestTablesWithinSections(t *testing.T) {
	src := "[Fees]\n  MaxCommitGasFee = \"1 FIL\"\n  [Fees.MaxPreCommitBatchGasFee]\n    Base = \"0.5 FIL\"\n    PerSector = " +
		"\"3 attoFIL\"\n[Addresses]\n"
	c, err := parse("f", []byte(src), []string{"LOTUS_FEES_MAXPRECOMMITBATCHGASFEE_BASE=2 attoFIL",
		"MINER_FEES_MAXCOMMITBATCHGASFEE_PERSECTOR=9"})
	if err != nil {
		t.Fatal(err)
	}
	f := c.Fees
	for name, got := range map[string][2]string{
		"single":     {f.MaxCommitGasFee.Amount().String(), "1000000000000000000"},
		"base":       {f.MaxPreCommitBatchGasFee.Base.Amount().String(), "2"},
		"per sector": {f.MaxPreCommitBatchGasFee.PerSector.Amount().String(), "3"},
		"untouched":  {f.MaxCommitBatchGasFee.Base.Amount().String(), "0"},
		"from env":   {f.MaxCommitBatchGasFee.PerSector.Amount().String(), "9000000000000000000"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want %s", name, got[0], got[1])
		}
	}
	for src, want := range map[string]string{
		"[Fees.MaxCommitBatchGasFee]\nPerSectors " +
			"= \"1\"\n": "f:2: unknown key Fees.MaxCommitBatchGasFee.PerSectors; did you mean Fees.MaxCommitBatchGasFee.PerSector?",
		"[Fees]\nMaxTerminateGasFee = \"1\"\n": "one of Lotus's that has no effect here",
	} {
		if _, err := parse("f", []byte(src), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", src, err)
		}
	}
	if _, err := parse("f", nil, []string{"MINER_FEES_MAXCOMMITBATCHGASFEE_SECTOR=9"}); err == nil ||
		!strings.Contains(err.Error(), "sets no key") {
		t.Errorf("misspelt variable: %v", err)
	}
	if s := Sample(); strings.Count(s, "[Fees") != 3 || !strings.Contains(s, "# for the proofs of several sectors.") &&
		!strings.Contains(s, "is for the proofs of several sectors.") {
		t.Errorf("sample: %s", s[strings.Index(s, "[Fees"):])
	}
}

func TestCombinations(t *testing.T) {
	for _, c := range []struct {
		name       string
		m, s, i, d bool // mining, sealing, storage, markets
		sealer, ix string
		want       string // part of the refusal, empty = accepted
	}{
		{"monolith", true, true, true, true, "", "", ""},
		{"private", true, true, true, false, "", "", ""},
		{"markets", false, false, false, true, "t:a", "t:a", ""},
		{"markets without sealer", false, false, false, true, "", "t:a", "SealerApiInfo"},
		{"markets without index", false, false, false, true, "t:a", "", "SectorIndexApiInfo"},
		{"nothing", false, false, false, false, "", "", "nothing is enabled"},
		{"sealing farm", false, true, true, false, "", "", "not tested"},
		{"sealing only", false, true, false, false, "t:a", "t:a", "EnableMining"},
		{"storage only", false, false, true, false, "t:a", "t:a", "EnableSectorStorage needs"},
		{"mining only", true, false, false, false, "t:a", "t:a", "without EnableSealing"},
		{"mining without storage", true, true, false, false, "t:a", "t:a", "without EnableSectorStorage"},
		{"mining without sealing", true, false, true, true, "t:a", "t:a", "without EnableSealing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Subsystems{c.m, c.s, c.i, c.d, c.sealer, c.ix}.validate(false)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// Each half has its own end of the link, and a process with both has none.
func TestLinkEnds(t *testing.T) {
	monolith := Subsystems{EnableMining: true, EnableSealing: true, EnableSectorStorage: true, EnableMarkets: true}
	private, markets := monolith, Subsystems{EnableMarkets: true}
	private.EnableMarkets = false
	with := func(s Subsystems, sealer, index string) Subsystems {
		s.SealerApiInfo, s.SectorIndexApiInfo = sealer, index
		return s
	}
	accepts, opens := Link{Accept: true}, Link{MarketsApiInfo: "t:a"}
	for name, c := range map[string]struct {
		subs Subsystems
		link Link
		want string
	}{
		"markets node accepts":    {markets, accepts, ""},
		"private node opens":      {private, opens, ""},
		"no link":                 {with(markets, "t:a", "t:a"), Link{}, ""},
		"private node accepts":    {private, accepts, "Link.Accept: only a markets node accepts"},
		"monolith accepts":        {monolith, accepts, "Link.Accept: only a markets node accepts"},
		"monolith opens":          {monolith, opens, "Link.MarketsApiInfo: the markets run in this process"},
		"markets node opens":      {markets, opens, "Link.MarketsApiInfo: the markets run in this process"},
		"both ways to the sealer": {with(markets, "t:a", ""), accepts, "needs no address and no token"},
		"both ways to the index":  {with(markets, "", "t:a"), accepts, "needs no address and no token"},
		"no markets, accepts":     {Subsystems{}, accepts, "nothing is enabled"},
	} {
		cfg := Default()
		cfg.Subsystems, cfg.Link = c.subs, c.link
		if err := cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateValues(t *testing.T) {
	for env, want := range map[string]string{
		"MINER_PROVING_FORM=snark":                                 "none of",
		"MINER_API_LISTENADDRESS=nowhere":                          "API.ListenAddress",
		"MINER_API_LISTENADDRESS=/ip4/1.2.3.4/udp":                 "API.ListenAddress",
		"MINER_API_REMOTELISTENADDRESS=host":                       "API.RemoteListenAddress",
		"MINER_API_MAXREQUESTBYTES=1":                              "API.MaxRequestBytes",
		"MINER_LIBP2P_LISTENADDRESSES=host:1":                      "Libp2p.ListenAddresses",
		"MINER_DEALMAKING_PIECECIDBLOCKLIST=x":                     "Dealmaking.PieceCidBlocklist",
		"MINER_DEALMAKING_MAXDEALSPERPUBLISHMSG=0":                 "Dealmaking.MaxDealsPerPublishMsg",
		"MINER_DEALMAKING_MAXDEALSTARTDELAY=1h":                    "Dealmaking.MaxDealStartDelay",
		"MINER_DEALMAKING_RETRIEVALLISTENADDRESS=80":               "Dealmaking.RetrievalListenAddress",
		"MINER_SEALING_COMMITTEDCAPACITYSECTORLIFETIME=24h":        "Sealing.CommittedCapacitySectorLifetime",
		"MINER_SEALING_MAXPRECOMMITBATCH=257":                      "Sealing.MaxPreCommitBatch",
		"MINER_SEALING_MAXCOMMITBATCH=0":                           "Sealing.MaxCommitBatch",
		"MINER_SEALING_PRECOMMITBATCHWAIT=0":                       "Sealing.PreCommitBatchWait",
		"MINER_SEALING_COMMITBATCHWAIT=24000h":                     "Sealing.CommitBatchWait",
		"MINER_ADDRESSES_DEALPUBLISHCONTROL=f0x":                   "Addresses.DealPublishControl",
		"MINER_DEALMAKING_SIMULTANEOUSTRANSFERSFORSTORAGE=0":       "Dealmaking.SimultaneousTransfersForStorage",
		"MINER_DEALMAKING_MAXPROVIDERCOLLATERALMULTIPLIER=0":       "Dealmaking.MaxProviderCollateralMultiplier",
		"MINER_LIBP2P_ANNOUNCEADDRESSES=/ip4/1.2.3.4/tcp/1,//bad/": "Libp2p.AnnounceAddresses",
	} {
		c, err := parse("f", nil, []string{env})
		if err != nil {
			t.Fatalf("%s: %v", env, err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestReachable(t *testing.T) {
	for a, want := range map[string]bool{"host:1": true, "[::1]:1": true, "http://host:1": true, "https://host/base": true,
		"host": false, "ftp://host:1": false, "http://": false, "http://u@host": false} {
		if reachable(a) != want {
			t.Errorf("%s: %v", a, !want)
		}
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]Epochs{"1h": 120, "30s": 1, "31s": 2, "0s": 0, "7": 7, "120 epochs": 120, "1 epoch": 1} {
		var e Epochs
		if err := e.UnmarshalText([]byte(in)); err != nil || e != want {
			t.Errorf("%s: %d, %v", in, e, err)
		}
		var again Epochs
		if err := again.UnmarshalText([]byte(e.String())); err != nil || again != e {
			t.Errorf("%s: %s reads as %d, %v", in, e, again, err)
		}
	}
	for in, want := range map[string]string{"0.05 FIL": "50000000000000000", "5": "5000000000000000000", "7 attofil": "7",
		"7aFIL": "7", "0": "0", ".5 fil": "500000000000000000"} {
		var f FIL
		if err := f.UnmarshalText([]byte(in)); err != nil || f.Amount().String() != want {
			t.Errorf("%s: %s, %v", in, f.Amount(), err)
		}
		var again FIL
		if err := again.UnmarshalText([]byte(f.String())); err != nil || again.Amount().String() != want {
			t.Errorf("%s: %s, %v", in, f, err)
		}
	}
	for _, in := range []string{"", "FIL", "1e5 FIL", "-1 FIL", "0.5 attoFIL", "1.2.3", strings.Repeat("1", 51), "1/2"} {
		var f FIL
		if f.UnmarshalText([]byte(in)) == nil {
			t.Errorf("%q accepted", in)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path, nil); err != nil || !reflect.DeepEqual(c, Default()) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("[Sealing]\nWaitDealsDelay = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path, nil); err != nil || c.Sealing.WaitDealsDelay != 3 {
		t.Fatalf("%v, %v", c.Sealing.WaitDealsDelay, err)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "bigger") {
		t.Fatal(err)
	}
}

// A config that is not there is no choice: nothing runs by default. A link that
// leads nowhere, to a disk that is not mounted for example, is named with its
// target, and a directory is no config either.
func TestLoadMissing(t *testing.T) {
	dir := t.TempDir()
	var missing *ErrMissing
	gone := filepath.Join(dir, "config.toml")
	if _, err := Load(gone, []string{"MINER_SUBSYSTEMS_ENABLEMARKETS=true"}); !errors.As(err, &missing) || missing.Path != gone ||
		missing.Target != "" ||
		!strings.Contains(err.Error(), gone+" is missing; restore it") {
		t.Errorf("no file: %v", err)
	}
	link, target := filepath.Join(dir, "link.toml"), filepath.Join(dir, "unmounted", "config.toml")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(link, nil); !errors.As(err, &missing) || missing.Path != link || missing.Target != target ||
		!strings.Contains(err.Error(), "link to "+target) {
		t.Errorf("dangling link: %v", err)
	}
	if _, err := Load(dir, nil); err == nil || errors.As(err, &missing) {
		t.Errorf("directory: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte("[Sealing]\nWaitDealsDelay = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(link, nil); err != nil || c.Sealing.WaitDealsDelay != 3 {
		t.Errorf("a link that leads somewhere: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Sample()), "MINER_API_LISTENADDRESS=x")
	f.Add([]byte("[API]\nX=1\n[[Sealing]]"), "MINER_SEALING_WAITDEALSDELAY=1h")
	f.Add([]byte("Fees.MaxCommitGasFee = \"1 FIL\""), "LOTUS_FEES_MAXCOMMITGASFEE=1e9")
	f.Fuzz(func(t *testing.T, src []byte, env string) {
		c, err := parse("f", src, []string{env})
		if err != nil {
			return
		}
		_ = c.Validate()
		again, err := parse("f", []byte(Render(c, true)), nil)
		if err != nil || Render(again, false) != Render(c, false) {
			t.Fatalf("what was accepted does not survive rendering: %v", err)
		}
	})
}
