package api

import (
	"context"
	"encoding/json"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"
)

// MarketDeal is a deal as the market actor keeps it.
type MarketDeal struct {
	Proposal market.DealProposal
	State    MarketDealState
}

// MarketDealState has -1 where nothing happened yet.
type MarketDealState struct {
	SectorNumber     abi.SectorNumber
	SectorStartEpoch abi.ChainEpoch
	LastUpdatedEpoch abi.ChainEpoch
	SlashEpoch       abi.ChainEpoch
}

// Chain is the part of the Lotus full-node API v1 that the suite uses, method
// by method with the same encodings, so that the embedded devnet and any real
// node are interchangeable. A tipset key parameter may be empty for the head.
type Chain interface {
	ChainHead(ctx context.Context) (*TipSet, error)                                                      //perm:read
	ChainNotify(ctx context.Context) (<-chan []*HeadChange, error)                                       //perm:read
	ChainGetTipSet(ctx context.Context, tsk TipSetKey) (*TipSet, error)                                  //perm:read
	ChainGetTipSetByHeight(ctx context.Context, epoch abi.ChainEpoch, tsk TipSetKey) (*TipSet, error)    //perm:read
	ChainGetTipSetAfterHeight(ctx context.Context, epoch abi.ChainEpoch, tsk TipSetKey) (*TipSet, error) //perm:read
	ChainGetGenesis(ctx context.Context) (*TipSet, error)                                                //perm:read
	ChainGetBlock(ctx context.Context, c cid.Cid) (*BlockHeader, error)                                  //perm:read
	ChainGetBlockMessages(ctx context.Context, c cid.Cid) (*BlockMessages, error)                        //perm:read
	ChainGetParentMessages(ctx context.Context, block cid.Cid) ([]CidMessage, error)                     //perm:read
	ChainGetParentReceipts(ctx context.Context, block cid.Cid) ([]*MessageReceipt, error)                //perm:read
	ChainGetMessagesInTipset(ctx context.Context, tsk TipSetKey) ([]CidMessage, error)                   //perm:read
	ChainGetMessage(ctx context.Context, c cid.Cid) (*Message, error)                                    //perm:read
	ChainReadObj(ctx context.Context, c cid.Cid) ([]byte, error)                                         //perm:read
	ChainHasObj(ctx context.Context, c cid.Cid) (bool, error)                                            //perm:read
	ChainPutObj(ctx context.Context, block ObjBlock) error                                               //perm:admin
	ChainGetPath(ctx context.Context, from, to TipSetKey) ([]*HeadChange, error)                         //perm:read
	ChainTipSetWeight(ctx context.Context, tsk TipSetKey) (abi.TokenAmount, error)                       //perm:read

	StateNetworkName(ctx context.Context) (string, error)                                           //perm:read
	StateNetworkVersion(ctx context.Context, tsk TipSetKey) (network.Version, error)                //perm:read
	StateGetNetworkParams(ctx context.Context) (*NetworkParams, error)                              //perm:read
	StateGetActor(ctx context.Context, a address.Address, tsk TipSetKey) (*Actor, error)            //perm:read
	StateReadState(ctx context.Context, a address.Address, tsk TipSetKey) (*ActorState, error)      //perm:read
	StateLookupID(ctx context.Context, a address.Address, tsk TipSetKey) (address.Address, error)   //perm:read
	StateAccountKey(ctx context.Context, a address.Address, tsk TipSetKey) (address.Address, error) //perm:read
	StateCall(ctx context.Context, msg *Message, tsk TipSetKey) (*InvocResult, error)               //perm:read
	StateSearchMsg(ctx context.Context, from TipSetKey, msg cid.Cid, lookback abi.ChainEpoch,
		allowReplaced bool) (*MsgLookup, error) //perm:read
	StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch,
		allowReplaced bool) (*MsgLookup, error) //perm:read
	StateMinerInfo(ctx context.Context, a address.Address, tsk TipSetKey) (MinerInfo, error)              //perm:read
	StateMinerPower(ctx context.Context, a address.Address, tsk TipSetKey) (*MinerPower, error)           //perm:read
	StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk TipSetKey) (*dline.Info, error) //perm:read
	StateMinerDeadlines(ctx context.Context, a address.Address, tsk TipSetKey) ([]Deadline, error)        //perm:read
	StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64,
		tsk TipSetKey) ([]Partition, error) //perm:read
	StateMinerSectors(ctx context.Context, a address.Address, filter *bitfield.BitField,
		tsk TipSetKey) ([]*miner.SectorOnChainInfo, error) //perm:read
	StateMinerActiveSectors(ctx context.Context, a address.Address,
		tsk TipSetKey) ([]*miner.SectorOnChainInfo, error) //perm:read
	StateMinerFaults(ctx context.Context, a address.Address, tsk TipSetKey) (bitfield.BitField, error)         //perm:read
	StateMinerRecoveries(ctx context.Context, a address.Address, tsk TipSetKey) (bitfield.BitField, error)     //perm:read
	StateMinerSectorCount(ctx context.Context, a address.Address, tsk TipSetKey) (MinerSectors, error)         //perm:read
	StateMinerAvailableBalance(ctx context.Context, a address.Address, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	StateMinerSectorAllocated(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk TipSetKey) (bool, error) //perm:read
	StateMinerPreCommitDepositForPower(ctx context.Context, a address.Address,
		pci miner.SectorPreCommitInfo, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	StateMinerInitialPledgeForSector(ctx context.Context, duration abi.ChainEpoch,
		size abi.SectorSize, verified uint64, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	StateMinerCreationDeposit(ctx context.Context, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	StateSectorPreCommitInfo(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk TipSetKey) (*miner.SectorPreCommitOnChainInfo, error) //perm:read
	StateSectorGetInfo(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk TipSetKey) (*miner.SectorOnChainInfo, error) //perm:read
	StateSectorExpiration(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk TipSetKey) (*SectorExpiration, error) //perm:read
	StateSectorPartition(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk TipSetKey) (*SectorLocation, error) //perm:read
	StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag,
		epoch abi.ChainEpoch, entropy []byte, tsk TipSetKey) (abi.Randomness, error) //perm:read
	StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag,
		epoch abi.ChainEpoch, entropy []byte, tsk TipSetKey) (abi.Randomness, error) //perm:read
	StateGetBeaconEntry(ctx context.Context, epoch abi.ChainEpoch) (*BeaconEntry, error)             //perm:read
	StateListMiners(ctx context.Context, tsk TipSetKey) ([]address.Address, error)                   //perm:read
	StateMarketBalance(ctx context.Context, a address.Address, tsk TipSetKey) (MarketBalance, error) //perm:read
	StateMarketStorageDeal(ctx context.Context, id abi.DealID, tsk TipSetKey) (*MarketDeal, error)   //perm:read
	StateDealProviderCollateralBounds(ctx context.Context, size abi.PaddedPieceSize, verified bool,
		tsk TipSetKey) (DealCollateralBounds, error) //perm:read
	StateVerifiedClientStatus(ctx context.Context, a address.Address, tsk TipSetKey) (*abi.StoragePower, error) //perm:read
	StateCirculatingSupply(ctx context.Context, tsk TipSetKey) (abi.TokenAmount, error)                         //perm:read
	StateVMCirculatingSupplyInternal(ctx context.Context, tsk TipSetKey) (CirculatingSupply, error)             //perm:read

	GasEstimateMessageGas(ctx context.Context, msg *Message, spec *MessageSendSpec, tsk TipSetKey) (*Message, error) //perm:read
	GasEstimateGasLimit(ctx context.Context, msg *Message, tsk TipSetKey) (int64, error)                             //perm:read
	GasEstimateFeeCap(ctx context.Context, msg *Message, maxqueueblks int64, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	GasEstimateGasPremium(ctx context.Context, nblocksincl uint64, sender address.Address,
		gaslimit int64, tsk TipSetKey) (abi.TokenAmount, error) //perm:read

	MpoolPushMessage(ctx context.Context, msg *Message, spec *MessageSendSpec) (*SignedMessage, error) //perm:sign
	MpoolPush(ctx context.Context, msg *SignedMessage) (cid.Cid, error)                                //perm:write
	MpoolGetNonce(ctx context.Context, a address.Address) (uint64, error)                              //perm:read
	MpoolPending(ctx context.Context, tsk TipSetKey) ([]*SignedMessage, error)                         //perm:read
	MpoolSelect(ctx context.Context, tsk TipSetKey, ticketQuality float64) ([]*SignedMessage, error)   //perm:read

	MinerGetBaseInfo(ctx context.Context, a address.Address, epoch abi.ChainEpoch,
		tsk TipSetKey) (*MiningBaseInfo, error) //perm:read
	MinerCreateBlock(ctx context.Context, t *BlockTemplate) (*BlockMsg, error) //perm:write
	SyncSubmitBlock(ctx context.Context, b *BlockMsg) error                    //perm:write
	SyncState(ctx context.Context) (json.RawMessage, error)                    //perm:read

	WalletNew(ctx context.Context, t KeyType) (address.Address, error)                                     //perm:write
	WalletHas(ctx context.Context, a address.Address) (bool, error)                                        //perm:write
	WalletList(ctx context.Context) ([]address.Address, error)                                             //perm:write
	WalletBalance(ctx context.Context, a address.Address) (abi.TokenAmount, error)                         //perm:read
	WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error)             //perm:sign
	WalletSignMessage(ctx context.Context, a address.Address, msg *Message) (*SignedMessage, error)        //perm:sign
	WalletVerify(ctx context.Context, a address.Address, data []byte, sig *crypto.Signature) (bool, error) //perm:read
	WalletDefaultAddress(ctx context.Context) (address.Address, error)                                     //perm:write
	WalletSetDefault(ctx context.Context, a address.Address) error                                         //perm:write
	WalletExport(ctx context.Context, a address.Address) (*KeyInfo, error)                                 //perm:admin
	WalletImport(ctx context.Context, k *KeyInfo) (address.Address, error)                                 //perm:admin
	WalletDelete(ctx context.Context, a address.Address) error                                             //perm:admin

	MarketAddBalance(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) //perm:sign
}

// ObjBlock is a raw IPLD block in the JSON form Lotus gives to
// go-block-format blocks.
type ObjBlock struct {
	Cid  cid.Cid
	Data []byte
}

// Node is what a full node says of itself besides the chain.
type Node interface {
	Version(ctx context.Context) (VersionInfo, error) //perm:read
	Session(ctx context.Context) (UUID, error)        //perm:read
	Shutdown(ctx context.Context) error               //perm:admin
}

// Devnet are the methods only the embedded node has.
type Devnet interface {
	DevnetStatus(ctx context.Context) (NodeStatusDevnet, error) //perm:read
	// DevnetWarp runs up to n null epochs back to back and stops early, without
	// error, before the first epoch in which a registered miner must act, unless
	// allowMissed. It returns the height reached.
	DevnetWarp(ctx context.Context, n abi.ChainEpoch, allowMissed bool) (abi.ChainEpoch, error) //perm:admin
	// DevnetSetPace changes the wall-clock milliseconds per epoch (0 = as fast
	// as blocks come).
	DevnetSetPace(ctx context.Context, millis int64) error //perm:admin
	// DevnetFund sends attoFIL from the faucet key.
	DevnetFund(ctx context.Context, to address.Address, amount abi.TokenAmount) (cid.Cid, error) //perm:write
}
