package interop

// methods are the names that a full node must serve.
var methods = []string{
	"ChainHead", "ChainNotify", "ChainGetTipSet", "ChainGetTipSetByHeight", "ChainGetTipSetAfterHeight", "ChainGetGenesis", "ChainGetBlock",
	"ChainGetBlockMessages", "ChainGetParentMessages", "ChainGetParentReceipts", "ChainGetMessagesInTipset", "ChainGetMessage",
	"ChainReadObj", "ChainHasObj", "ChainPutObj", "ChainGetPath", "ChainTipSetWeight",
	"StateNetworkName", "StateNetworkVersion", "StateGetNetworkParams", "StateGetActor", "StateReadState", "StateLookupID",
	"StateAccountKey",
	"StateCall", "StateSearchMsg", "StateWaitMsg", "StateMinerInfo", "StateMinerPower", "StateMinerProvingDeadline", "StateMinerDeadlines",
	"StateMinerPartitions", "StateMinerSectors", "StateMinerActiveSectors", "StateMinerFaults", "StateMinerRecoveries",
	"StateMinerSectorCount", "StateMinerAvailableBalance", "StateMinerSectorAllocated", "StateMinerAllocated",
	"StateMinerPreCommitDepositForPower", "StateMinerInitialPledgeForSector", "StateMinerInitialPledgeCollateral",
	"StateMinerCreationDeposit", "StateSectorPreCommitInfo", "StateSectorGetInfo", "StateSectorExpiration", "StateSectorPartition",
	"StateGetRandomnessFromTickets", "StateGetRandomnessFromBeacon", "StateGetBeaconEntry", "StateListMiners", "StateListActors",
	"StateMarketBalance", "StateMarketStorageDeal", "StateMarketDeals", "StateMarketProposalPending", "StateDealProviderCollateralBounds",
	"StateVerifiedClientStatus", "StateVerifierStatus", "StateGetAllocation", "StateGetAllocations", "StateGetAllAllocations",
	"StateGetAllocationForPendingDeal", "StateGetAllocationIdForPendingDeal", "StateGetClaim", "StateGetClaims", "StateGetAllClaims",
	"StateCirculatingSupply", "StateVMCirculatingSupplyInternal", "StateDecodeParams", "StateEncodeParams",
	"GasEstimateMessageGas", "GasEstimateGasLimit", "GasEstimateFeeCap", "GasEstimateGasPremium",
	"MpoolPushMessage", "MpoolBatchPushMessage", "MpoolPush", "MpoolBatchPush", "MpoolGetNonce", "MpoolPending", "MpoolSelect", "MpoolSub",
	"MpoolGetConfig", "MinerGetBaseInfo", "MinerCreateBlock", "SyncSubmitBlock", "SyncState",
	"WalletNew", "WalletHas", "WalletList", "WalletBalance", "WalletSign", "WalletSignMessage", "WalletVerify", "WalletDefaultAddress",
	"WalletSetDefault", "WalletExport", "WalletImport", "WalletDelete", "WalletValidateAddress",
	"MarketAddBalance", "MarketReserveFunds", "MarketReleaseFunds", "MarketGetReserved", "MarketWithdraw",
	"F3IsRunning", "F3GetLatestCertificate", "F3GetOrRenewParticipationTicket", "F3Participate", "F3GetManifest", "F3GetProgress",
	"ChainGetFinalizedTipSet", "NetPeers", "NetBandwidthStats", "NetAutoNatStatus", "ID", "StateActorCodeCIDs", "StateActorManifestCID",
}

// elsewhere are those that other tests drive: blocks have one of their own, and an
// object has no JSON in Lotus's client.
var elsewhere = map[string]bool{"ChainPutObj": true, "MinerCreateBlock": true, "SyncSubmitBlock": true}
