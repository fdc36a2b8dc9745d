"""The method in plain torch: attention maps, teacher maps, links, distance and λ."""

from .losses.links import AttentionLinks, link_distance, link_ranges, mean_link_distance
from .losses.resize import resize_maps
from .losses.schedule import check_schedule, link_weight
from .student.attention_recorder import AttentionRecorder
from .student.maps import class_token_attention, qkv_class_token_attention
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.timm_teacher import TimmTeacher
from .teacher.unregistered import Unregistered

__all__ = [
    "AttentionLinks",
    "AttentionRecorder",
    "FrozenTeacher",
    "TimmTeacher",
    "Unregistered",
    "check_schedule",
    "class_token_attention",
    "link_distance",
    "link_ranges",
    "link_weight",
    "mean_link_distance",
    "qkv_class_token_attention",
    "resize_maps",
]
