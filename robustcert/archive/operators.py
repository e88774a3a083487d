"""The operators a classifier may call: an allow-list, never a deny-list.

``torch.NAME`` in saved code is the operator ``aten::NAME``. A name belongs here if it
computes a value from its arguments and touches nothing else: no file, no address, no
global state. Random operators are on the list: a random model is refused where its
outputs are seen to differ, with a better message.
"""

from __future__ import annotations

from typing import Final


def _words(*groups: str) -> frozenset[str]:
    return frozenset(word for group in groups for word in group.split())


TORCH: Final[frozenset[str]] = _words(
    # Linear maps and convolutions.
    """
    linear matmul mm bmm mv dot addmm addmm_ baddbmm addbmm addmv addr outer einsum
    tensordot bilinear _trilinear inner kron ger vdot cross chain_matmul
    linalg_multi_dot conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution _convolution _convolution_mode
    """,
    # Normalisation.
    """
    batch_norm instance_norm layer_norm group_norm native_batch_norm native_layer_norm
    native_group_norm rms_norm cudnn_batch_norm norm linalg_vector_norm
    linalg_matrix_norm linalg_norm renorm cosine_similarity cdist pdist dist
    pairwise_distance native_norm norm_except_dim frobenius_norm _weight_norm
    _weight_norm_interface _native_batch_norm_legit
    _native_batch_norm_legit_no_training _native_batch_norm_legit_functional
    """,
    # Activations.
    """
    relu relu_ relu6 relu6_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu
    gelu_ silu silu_ mish mish_ sigmoid sigmoid_ tanh tanh_ softplus hardtanh hardtanh_
    hardswish hardswish_ hardsigmoid hardsigmoid_ log_sigmoid softshrink hardshrink
    prelu rrelu rrelu_ threshold threshold_ glu softmax log_softmax _softmax
    _log_softmax _safe_softmax logit logit_ erf erfc
    """,
    # Dropout and noise: nothing in eval mode, and random otherwise.
    """
    dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_
    feature_alpha_dropout feature_alpha_dropout_ native_dropout bernoulli bernoulli_
    rand randn rand_like randn_like randint uniform_ normal_ normal multinomial
    exponential_
    """,
    # Pooling, padding and resampling.
    """
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d fractional_max_pool2d
    fractional_max_pool3d max_unpool2d max_unpool3d pad constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d _pad_circular upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa
    _upsample_bicubic2d_aa _upsample_lanczos2d_aa grid_sampler grid_sampler_2d
    grid_sampler_3d affine_grid_generator pixel_shuffle pixel_unshuffle channel_shuffle
    native_channel_shuffle im2col col2im
    """,
    # Attention and recurrent layers.
    """
    scaled_dot_product_attention _native_multi_head_attention
    _transformer_encoder_layer_fwd embedding embedding_bag lstm gru rnn_tanh rnn_relu
    lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
    """,
    # Arithmetic, element by element.
    """
    add add_ sub sub_ rsub mul mul_ div div_ true_divide floor_divide floordiv
    remainder fmod pow pow_ neg neg_ abs abs_ sign sgn exp exp_ exp2 expm1 log log_
    log2 log10 log1p sqrt sqrt_ rsqrt rsqrt_ square square_ reciprocal reciprocal_
    floor ceil round trunc frac absolute negative positive multiply multiply_ subtract
    divide logaddexp heaviside copysign float_power erfinv lgamma digamma deg2rad sin
    cos tan asin acos atan atan2 sinh cosh asinh acosh atanh clamp clamp_ clamp_min
    clamp_min_ clamp_max clamp_max_ clip clip_ minimum maximum fmin fmax lerp addcmul
    addcmul_ addcdiv addcdiv_ nan_to_num hypot xlogy sinc isnan isinf isfinite fft_fft2
    fft_ifft2 fft_rfft2 fft_irfft2 real imag view_as_real view_as_complex complex angle
    """,
    # Reductions.
    """
    sum mean prod std var std_mean var_mean max min amax amin aminmax argmax argmin
    median nanmedian mode logsumexp cumsum cumprod all any count_nonzero topk sort
    argsort msort kthvalue unique_dim nansum nanmean cummax cummin logcumsumexp
    quantile bucketize searchsorted sum_to_size trace diff
    """,
    # Losses: a classifier often carries the one it was trained with.
    """
    binary_cross_entropy binary_cross_entropy_with_logits cross_entropy_loss nll_loss
    nll_loss2d nll_loss_nd kl_div mse_loss l1_loss smooth_l1_loss huber_loss
    cosine_embedding_loss hinge_embedding_loss margin_ranking_loss multi_margin_loss
    multilabel_margin_loss poisson_nll_loss soft_margin_loss triplet_margin_loss
    ctc_loss
    """,
    # Matrices, as orthogonal layers need them.
    """
    matrix_exp linalg_matrix_exp linalg_solve _linalg_solve_ex linalg_inv inverse
    linalg_qr linalg_svd linalg_svdvals linalg_cholesky linalg_eigh linalg_det
    linalg_solve_triangular linalg_householder_product linalg_matrix_power
    """,
    # Comparison and logic.
    """
    eq ne lt le gt ge equal allclose isclose not_equal greater greater_equal less
    less_equal is_nonzero logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_not bitwise_xor where masked_fill masked_fill_ masked_select
    masked_scatter __and__ __or__ __xor__ __not__ __is__ __isnot__ __contains__
    __getitem__ __lshift__ __rshift__ __range_length __derive_index
    """,
    # Shape, layout and indexing.
    """
    view view_as reshape reshape_as flatten unflatten ravel squeeze squeeze_ unsqueeze
    unsqueeze_ permute transpose transpose_ t numpy_T swapaxes swapdims movedim
    moveaxis contiguous expand expand_as broadcast_to broadcast_tensors
    broadcast_shapes repeat repeat_interleave tile cat concat concatenate stack hstack
    vstack dstack split split_with_sizes tensor_split chunk unbind select slice narrow
    index index_select gather scatter scatter_ scatter_add scatter_add_ index_add
    index_put index_put_ take take_along_dim flip fliplr flipud rot90 roll diag
    diagonal diag_embed tril triu meshgrid one_hot unfold fill fill_ fill_diagonal_
    zero_ copy_ clone detach detach_ alias lift_fresh lift_fresh_copy adjoint mT mH
    nonzero atleast_1d atleast_2d atleast_3d column_stack block_diag pad_sequence
    cartesian_prod unsafe_chunk unsafe_split hsplit vsplit slice_scatter select_scatter
    index_fill index_copy size numel dim len stride storage_offset is_contiguous
    """,
    # New tensors, types and devices.
    """
    tensor as_tensor scalar_tensor zeros ones full zeros_like ones_like full_like
    new_zeros new_ones new_full empty empty_like new_empty arange linspace eye
    tril_indices triu_indices device to type_as to_dense to_padded_tensor
    _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned cpu
    is_floating_point is_complex is_same_size result_type promote_types item
    """,
    # Python's own values: numbers, texts, lists and dicts.
    """
    append extend insert pop clear reverse keys values items get update list dict
    format sorted str ord chr lower upper strip split join startswith endswith replace
    find Int Float Bool Complex IntImplicit FloatImplicit ScalarImplicit Size warn
    is_grad_enabled is_autocast_enabled is_autocast_cpu_enabled is_scripting
    _infer_size _shape_as_tensor _unwrap_optional
    """,
)

# `ops.NAMESPACE.NAME`: what the compiler itself adds.
OPS: Final[frozenset[tuple[str, str]]] = frozenset(
    ("prim", name)
    for name in _words(
        """
    NumToTensor RaiseException device dtype type layout is_nested requires_grad is_cuda
    is_cpu is_sparse is_quantized is_mkldnn is_meta is_mps is_xpu itemsize data
    unchecked_unwrap_optional tolist min max abs name index TupleIndex TupleUnpack
    """
    )
)

# Names the loader defines without `torch.`; not here: `print`, `fork`, `awaitable`.
BUILTINS: Final[frozenset[str]] = _words(
    """
    annotate unchecked_cast uninitialized bool int float str complex getattr hasattr
    isinstance range len min max abs round sum all any enumerate zip list dict tuple
    sorted divmod ord chr pow reversed
    """,
)

# A method of the model may not have the name of an operator with an effect outside the
# model: a call of such a method on a tensor would be that operator.
OUTSIDE_EFFECTS: Final[frozenset[str]] = _words(
    """
    save from_file set_ set_data backward record_stream pin_memory resize_ resize_as_
    _resize_output_ _set_item as_strided as_strided_ manual_seed set_grad_enabled wait
    _lazy_clone _unsafe_view is_pinned
    """,
)
