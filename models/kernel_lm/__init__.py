"""How the farm's own small language model is made: corpus, tokenizer, training, evaluation.

- Nothing here is used while the farm runs: the farm reads the weights from its package data
  (``BackendBench/vllm_backend/generation/kernel_lm``) and needs none of this.
- The corpus is the farm's own prompts, answered by the grammar of kernels. It is made again each time, never stored.
- One seed, one corpus, one order of the batches.
"""
