"""The recipe: everything a run is made of, as frozen, typed sections.

This file imports no torch. An objective stands here as its name and parameters;
`luce.recipe.objective` builds it.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Frozen; a key that is not listed is an error, and so is a value of another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class Lora(Section):
    """Low-rank adapters in place of full fine-tuning."""

    r: Positive = Field(default=16, description="rank")
    alpha: float = Field(default=32.0, gt=0.0, description="scale; the update is alpha / r · B A")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="on the adapter's input")
    target_modules: str | Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default="all-linear", description="all-linear, or names of modules"
    )


class Model(Section):
    """The model that is trained."""

    path: str = Field(min_length=1, description="a folder in HF format, or a hub name")
    kind: Literal["policy", "reward", "pairwise"] = Field(
        default="policy",
        description="what is trained; a pairwise model reads both responses together",
    )
    pairwise: Literal["head", "tokens"] = Field(
        default="head",
        description="how a pairwise model answers: a number for each order, or the letter A or B",
    )
    annotators: Literal["heads", "offsets", "temperatures"] | None = Field(
        default=None,
        description="what each named annotator of a reward model has: a reward of its own, what it "
        "adds to that of all, or how strongly it follows that of all",
    )
    ensemble: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="members of a reward model, each on its own draw of the rows"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="of the weights; auto trains in float32, and keeps a frozen base as stored",
    )
    lora: Lora | None = Field(default=None, description="null trains every weight")
    trust_remote_code: bool = Field(default=False, description="run code that comes with the model")
    layout: Literal["auto", "shared", "packed", "padded"] = Field(
        default="auto", description="how a batch is laid out; auto is the fastest that is exact"
    )


class Data(Section):
    """The judged rows, and how they become tokens."""

    path: str = Field(min_length=1, description="a file, a folder, or a `datasets` name")
    split: str | None = Field(default=None, description="of a `datasets` name or folder")
    config: str | None = Field(default=None, description="of a `datasets` name")
    format: str = Field(default="auto", description="auto, or a name of `luce list formats`")
    columns: dict[str, str] = Field(default_factory=dict, description="luce's name: the file's")
    eval: Annotated[float, Field(gt=0.0, lt=1.0)] | str | None = Field(
        default=0.05, description="a fraction of the prompts held out, a path, or null"
    )
    max_length: Positive = Field(default=1024, description="tokens of a prompt with its response")
    truncation: Literal["drop", "left_prompt", "right_keep_eos", "error"] = Field(
        default="drop", description="what becomes of longer rows"
    )
    render: Literal["chat", "plain"] = Field(
        default="chat", description="chat template, or bare text"
    )
    bad_rows: Literal["stop", "drop"] = Field(
        default="stop", description="what becomes of unusable rows"
    )
    score_turns: Literal["all_assistant", "last"] = Field(
        default="all_assistant", description="which turns of a response are scored"
    )
    pairs: Literal["best_vs_worst", "all"] = Field(
        default="best_vs_worst", description="which pairs a ranking gives"
    )
    contradictions: Literal["keep", "drop"] = Field(
        default="keep",
        description="what becomes of rows that judge the same responses in opposite ways",
    )
    limit: Positive | None = Field(default=None, description="read this many rows only")


class ObjectiveChoice(Section):
    """An objective by name, with the parameters that were given or their defaults."""

    name: str = Field(min_length=1, description="a name of `luce list objectives`")
    parameters: dict[str, Any] = Field(default_factory=dict, description="see `luce show NAME`")


class Train(Section):
    """The optimizer, the schedule, and when to log, evaluate and save."""

    learning_rate: float = Field(default=1e-6, gt=0.0, description="peak, after warm-up")
    batch_size: Positive = Field(default=32, description="groups (pairs) a step, over all devices")
    epochs: float = Field(
        default=1.0, gt=0.0, description="passes over the data; may be a fraction"
    )
    max_steps: Positive | None = Field(default=None, description="stop here, whatever the epochs")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Fraction = Field(default=0.1, description="share of the steps that warm up")
    weight_decay: float = Field(default=0.0, ge=0.0)
    adam_beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    adam_beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    adam_epsilon: float = Field(default=1e-8, gt=0.0)
    max_grad_norm: float = Field(
        default=1.0, gt=0.0, description="gradients are scaled down to this"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of order, dropout and sampling")
    bf16: bool = Field(default=False, description="bfloat16 autocast; the weights keep their dtype")
    gradient_checkpointing: bool = Field(default=False, description="recompute activations")
    deterministic: bool = Field(
        default=False, description="kernels on CUDA that add in one order; slower"
    )
    strategy: Literal["ddp", "fsdp2"] = Field(
        default="ddp",
        description="under torchrun: every process has the whole model, or a shard of it",
    )
    max_tokens_per_batch: Positive = Field(default=8192, description="tokens in one forward pass")
    logging_steps: Positive = Field(default=1, description="steps between lines on the console")
    save_steps: Positive = Field(default=500, description="steps between checkpoints")
    save_total_limit: Positive = Field(default=2, description="checkpoints kept")
    eval_steps: Positive | None = Field(
        default=None, description="null evaluates at both ends only"
    )
    report_to: Literal["none", "trackio", "tensorboard", "wandb", "mlflow"] = Field(
        default="none", description="a tracker that is installed"
    )


class Evaluate(Section):
    """Samples taken before, in and after training."""

    sample_prompts: Annotated[int, Field(ge=0)] = Field(
        default=64, description="prompts that are answered; 0 for none"
    )
    max_new_tokens: Positive = 128
    temperature: float = Field(default=1.0, ge=0.0, description="0 is greedy")
    annotator: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="who compares these samples: a reward or pairwise model, module:function, or "
        "people:FILE",
    )
    annotator_kind: Literal["reward", "pairwise", "policy"] | None = Field(
        default=None, description="of that model, where it does not say so itself"
    )
    sample_steps: Positive | None = Field(
        default=None, description="steps between samples in training; null: at both ends only"
    )
    best: Literal["win_rate", "reward"] | None = Field(
        default=None,
        description="export the sampled step that is best by this, on prompts of its own; null: "
        "the last step",
    )
    max_kl: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="nats a response that the best may be from the initial policy"
    )


DiagnosticName = Literal[
    "divergence",
    "displacement",
    "length",
    "calibration",
    "over_optimization",
    "annotators",
    "saturation",
]

Temperatures = Annotated[
    tuple[Annotated[float, Field(ge=0.0)], ...], Field(strict=False, min_length=1)
]


class Engine(Section):
    """What samples: this process, or a server."""

    kind: Literal["transformers", "vllm", "sglang"] = Field(
        default="transformers", description="transformers: in this process; else a server"
    )
    base_url: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="of the server: http or https, host and port; without /v1"
    )
    api_key_env: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the environment variable with the server's key"
    )
    concurrency: Positive = Field(default=64, description="prompts that are asked at once")
    timeout_s: float = Field(default=600.0, gt=0.0, description="of one request")
    retries: Annotated[int, Field(ge=0)] = Field(
        default=6, description="of a request that failed, after waits that double"
    )
    wait_s: float = Field(
        default=1800.0, ge=0.0, description="how long the server may take to have a round's weights"
    )
    stale: Literal["refuse", "weight"] = Field(
        default="refuse",
        description="what becomes of samples of other weights: none are taken, or each counts by "
        "its importance weight",
    )
    max_weight: float = Field(
        default=2.0, gt=0.0, description="importance weights are cut off at this"
    )


class RayJob(Section):
    """How Ray shares the work of a stage."""

    address: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="of the cluster, or auto; null: one on this host"
    )
    concurrency: Positive = Field(default=1, description="actors; each loads the model once")
    num_cpus: float = Field(default=1.0, gt=0.0, description="of an actor")
    num_gpus: float = Field(default=0.0, ge=0.0, description="of an actor")


class Online(Section):
    """Rounds of `luce online`: sample, annotate, select, train."""

    rounds: Positive = Field(default=3, description="turns of the loop")
    prompts_per_round: Positive | None = Field(
        default=None, description="the next so many of the prompts; null: all in every round"
    )
    n: Annotated[int, Field(ge=2)] = Field(default=4, description="samples of each prompt")
    temperature: float | Temperatures = Field(
        default=1.0, description="of the samples; of a list the first for the first, and so on"
    )
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="of the samples")
    max_new_tokens: Positive = Field(default=128, description="of a sample")
    annotator: str = Field(
        min_length=1,
        description="who judges: a reward or pairwise model, module:function, or people:FILE",
    )
    annotator_kind: Literal["reward", "pairwise", "policy"] | None = Field(
        default=None, description="of that model, where it does not say so itself"
    )
    labels: Literal["hard", "soft", "drawn"] = Field(
        default="hard",
        description="of a pair: the better one is preferred; with its probability; or drawn by it",
    )
    label_temperature: float = Field(
        default=1.0, gt=0.0, description="of soft and drawn labels, in the unit of the reward"
    )
    select: Literal[
        "best_vs_worst",
        "best_vs_random",
        "random_pair",
        "best_vs_second",
        "length_penalized",
        "tournament",
        "margin_weighted",
        "listwise",
        "rejection",
        "widest",
        "enhancer",
        "optimism",
        "across",
    ] = Field(default="best_vs_worst", description="which pairs the samples of a prompt give")
    opponent: str | None = Field(
        default=None,
        description="who draws the latter half of the samples: reference, or mixture(share), the "
        "policy mixed with so much of its reference; null: the policy",
    )
    length_penalty: float = Field(
        default=0.0, ge=0.0, description="reward that a token costs in `length_penalized`"
    )
    acceptance_beta: float = Field(
        default=1.0, gt=0.0, description="of the policy exp(r / beta) that `rejection` samples"
    )
    features: str | None = Field(
        default=None,
        description="the reward model whose last layer `enhancer` and `optimism` measure by; null: "
        "the annotator",
    )
    ridge: float = Field(default=1.0, gt=0.0, description="of the covariance of those features")
    optimism: float = Field(
        default=1.0, ge=0.0, description="reward that a unit of width is worth in `optimism`"
    )
    train_on: Literal["latest", "union", "replay"] = Field(
        default="latest", description="rows of this round, of all, or of this and some earlier ones"
    )
    replay_share: Fraction = Field(default=0.5, description="earlier rows in `replay`")
    unended: Literal["keep", "drop"] = Field(
        default="keep", description="what becomes of samples cut at `max_new_tokens`"
    )
    gold: str | None = Field(
        default=None, description="an annotator that nothing is trained on, for the evaluation"
    )
    gold_kind: Literal["reward", "pairwise", "policy"] | None = Field(
        default=None, description="of that model, where it does not say so itself"
    )
    guard: Literal["tell", "stop", "roll_back"] = Field(
        default="tell",
        description="what a fall of the gold reward does: it is told; no more rounds; and the best "
        "round's policy is taken",
    )
    block: Positive = Field(default=64, description="prompts in one piece of work")
    engine: Engine = Field(default_factory=Engine, description="what samples")
    scale: Literal["none", "ray"] = Field(
        default="none", description="who shares sampling and judging, beside workers: Ray"
    )
    ray: RayJob = Field(default_factory=RayJob, description="how, with `scale: ray`")
    train_command: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="trains a round; the recipe's path is added to it. null: this process does",
    )


class Recipe(Section):
    """A run's full configuration."""

    name: str = Field(pattern=r"^[^/\\\s][^/\\]*$", description="of the run")
    output_dir: str = Field(min_length=1, description="where the run is written")
    model: Model
    data: Data
    objective: ObjectiveChoice
    reference: str = Field(
        default="initial", min_length=1, description="initial, base, none, or a path"
    )
    history: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="an earlier iterate, for objectives that look at one: initial, or a path",
    )
    train: Train = Field(default_factory=Train)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    diagnose: Annotated[tuple[DiagnosticName, ...], Field(strict=False)] = Field(
        default=get_args(DiagnosticName),
        description="what is looked for in the run: names of `luce list diagnostics`",
    )
    online: Online | None = Field(default=None, description="rounds; see `luce online`")
